import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { type Address, formatAddress } from '../../../config/index.ts'
import { isFromForeignPage } from '../../foreign-pages.ts'
import { HTTP_SOCKETS, limitConnections, makeRoom, newHttpCounters } from '../../http-limits.ts'
import { listenError } from '../../listeners.ts'
import { type HttpLogin, type LoginRefusal, may, WRONG_PASSWORD_MS } from '../../login/index.ts'
import { encryptHttp, PLAIN_REQUEST } from '../../tls/encrypt-http.ts'
import { newTlsCounters } from '../../tls/handshakes.ts'
import type { TlsKeeper } from '../../tls/tls-keeper.ts'
import type { AdminFailure } from '../api/verb.ts'
import type { AdminCounters, AdminListener } from './admin-app.ts'

/** More connections than administrators need. A new one closes an idle one: see `ConnectionRoom`. */
const MOST_CONNECTIONS = 128
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000

/** What the listener on TCP needs. */
export interface TcpListenerParts {
  readonly login: HttpLogin
  /** Undefined: in clear text, at a loopback address. */
  readonly tls: TlsKeeper | undefined
  /** Answers what was let in. */
  readonly answer: AdminListener
  readonly counters: AdminCounters
  readonly log: Logger
}

/**
 * Opens the admin listener on TCP. It lets in users whose role may administer, by whatever the login takes.
 *
 * @throws OptionError naming `admin.listen`
 * @returns its URL, and the server to close
 */
export async function listenOnTcp(
  address: Address,
  parts: TcpListenerParts,
): Promise<{ readonly url: string; readonly http: Server }> {
  const { tls, log } = parts
  const options = { ...HTTP_SOCKETS, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS }
  const http = createServer(options)
  const room = makeRoom(MOST_CONNECTIONS)
  if (tls !== undefined) {
    const handshakes = tls.listener({
      ...{ protocol: 'http/1.1', minVersion: 'TLSv1.2', counters: newTlsCounters(), log },
      answerToClearText: PLAIN_REQUEST,
    })
    encryptHttp(http, handshakes, (accepted, secured) => {
      // Node asks the server of a connection for the class of its requests.
      Object.assign(secured, { server: http })
      room.secured(accepted, secured)
    })
  }
  limitConnections(http, newHttpCounters(), room)
  http.on('request', (request, response) => void letIn(request, response, parts))
  http.listen({ host: address.host, port: address.port })
  try {
    await once(http, 'listening')
  } catch (error) {
    throw listenError('admin.listen', address, error)
  }
  const bound = http.address()
  const port = bound !== null && typeof bound === 'object' ? bound.port : address.port
  return { http, url: `${tls === undefined ? 'http' : 'https'}://${formatAddress(address.host, port)}/` }
}

/** Answers requests of administrators only. Never rejects. */
async function letIn(
  request: IncomingMessage,
  response: ServerResponse,
  { login, answer, counters }: TcpListenerParts,
): Promise<void> {
  // Before the login, so that a page cannot try passwords.
  const refused = isFromForeignPage(request, undefined) ? FOREIGN_PAGE : await login.letIn(request)
  const refusal = refused === undefined ? refusalOf(request, login) : asked(refused, login)
  if (refusal === undefined) {
    answer(request, response, { user: login.userOf(request).user, address: login.addressOf(request) })
    return
  }
  counters.refused++
  const send = () => {
    const text = JSON.stringify({ message: refusal.reason } satisfies AdminFailure)
    const fields = { 'content-type': 'application/json', 'cache-control': 'no-store', connection: 'close' }
    response.writeHead(refusal.status, { ...refusal.headers, ...fields }).end(text)
  }
  if (refusal.delayed) setTimeout(send, WRONG_PASSWORD_MS)
  else send()
}

const FOREIGN_PAGE: LoginRefusal = {
  status: 403,
  headers: {},
  reason: 'a page of another origin may only link to this server; open its own page instead',
  delayed: false,
}

/** The way back from a provider leads to the pages of users, so here a password is asked for in its place. */
function asked(refusal: LoginRefusal, { challenge }: HttpLogin): LoginRefusal {
  if (refusal.status !== 302) return refusal
  const reason = 'Log in at the page of users first, or use a password or a token.'
  const headers = challenge === undefined ? {} : { 'www-authenticate': challenge }
  return { status: challenge === undefined ? 403 : 401, headers, reason, delayed: false }
}

/** Why a user who has logged in may not use the API. */
function refusalOf(request: IncomingMessage, login: HttpLogin): LoginRefusal | undefined {
  const { roles, token } = login.userOf(request)
  if (token === undefined && may(roles, 'administer')) return undefined
  login.refused(request, 'use the admin API')
  const reason =
    token === undefined
      ? 'Only administrators may do this; they are named by login.admins.'
      : 'App passwords and links do not administer; use the password of an administrator.'
  return { status: 403, headers: {}, reason, delayed: false }
}
