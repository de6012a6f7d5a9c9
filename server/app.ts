import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from 'fastify'
import { isLoopback } from '../config/index.ts'
import { fineClock } from './clock.ts'
import { isFromForeignPage } from './foreign-pages.ts'
import {
  HTTP_SOCKETS,
  type HttpCounters,
  limitConnections,
  makeRoom,
  mostConnections,
  newHttpCounters,
} from './http-limits.ts'
import { ACCESS_PATH, type HttpLogin, type LoginRefusal, TOKENS_PATH } from './login/index.ts'
import { Pipelines } from './pipelining.ts'
import type { PublicNames } from './public-names.ts'
import { RequestTurns } from './request-turns.ts'
import type { ServerStatus } from './status.ts'
import { encryptHttp } from './tls/encrypt-http.ts'
import type { Handshakes, TlsCounters } from './tls/handshakes.ts'

/** The settings of the HTTP process. */
export interface AppOptions {
  readonly log: FastifyBaseLogger
  /** Whether requests for any host name are answered. Without a login this is off by default. */
  readonly anyHost: boolean
  /** Additional host names that are answered. */
  readonly names?: PublicNames
  /** Requests outside `/-/` need a user; undefined: there is no login. */
  readonly login?: HttpLogin | undefined
  readonly status: () => ServerStatus
  /** The maximum number of connections, if it is less than the process has descriptors for. */
  readonly connections?: number | undefined
  /** Set if the connections are encrypted. */
  readonly handshakes?: Handshakes | undefined
}

/** How long a refused connection stays open so that its client can read the reason, in ms. */
const AFTER_ERROR_MS = 5_000

/** The HTTP process: its Fastify instance and its counters. */
export interface App {
  readonly app: FastifyInstance
  readonly counters: HttpCounters
  /** The maximum number of connections. */
  readonly connections: number
  /** The counters of encryption; undefined if there is none. */
  readonly tls: TlsCounters | undefined
  /** Stops further listeners, and resolves when their connections are closed. */
  stopAccepting: () => Promise<void>
}

/** Builds the HTTP process without listening. Tests inject requests; WebDAV adds its routes before `app` listens. */
export function buildApp({ log, anyHost, names, login, status, connections, handshakes }: AppOptions): App {
  const counters = newHttpCounters()
  const app = fastify({
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 65_536 },
    // The request line and Destination may each contain a percent-encoded path of 4,096 bytes, besides the tokens in If.
    http: { maxHeaderSize: 65_536, headersTimeout: 30_000, highWaterMark: HTTP_SOCKETS.highWaterMark },
    // There is no limit for a whole request, because uploads may be long. http-limits limits silence.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    frameworkErrors: (error, _request, reply: FastifyReply) => {
      counters.badRequests++
      reply.code(error.statusCode ?? 400).type('text/plain; charset=utf-8')
      reply.send('Bad request\n')
    },
    clientErrorHandler: (error, socket) => {
      counters.clientErrors++
      if (!socket.writable) return
      // It has left in the middle of a body. A thousand clients may do so at once, and none reads a reply.
      if (error.code === 'HPE_INVALID_EOF_STATE' && isBusy(socket)) return socket.destroy()
      const head = CLIENT_ERRORS[error.code ?? ''] ?? '400 Bad Request'
      socket.end(`HTTP/1.1 ${head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      // A client that continues to send would keep its half of the connection open.
      setTimeout(() => socket.destroy(), AFTER_ERROR_MS).unref()
    },
  })
  // Given as an option, it would make Fastify watch each response in order to log it.
  app.log = log
  // What the server listens to now is for connections whose handshake has succeeded; the limits are for all.
  const most = mostConnections(connections)
  const room = makeRoom(most)
  if (handshakes !== undefined)
    encryptHttp(app.server, handshakes, (accepted, secured) => room.secured(accepted, secured))
  const isBusy = limitConnections(app.server, counters, room)
  refuseForeigners(app, counters, { anyHost, names })
  if (login !== undefined) askForLogin(app, login, counters)
  addStatusRoute(app, status)
  return { app, counters, connections: most, tls: handshakes?.counters, stopAccepting: async () => undefined }
}

/** Status lines for requests that Node's parser rejects, by error code. */
const CLIENT_ERRORS: Record<string, string> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** Reasons for refusing a request before it is processed. */
const FOREIGN_HOST =
  'This server has no login, so it answers only to localhost, IP addresses and names given with --public-url.\n'
const FOREIGN_PAGE =
  "A page of another origin may only link to this server. If this is the server's own page behind a proxy, give its URL with --public-url.\n"

/**
 * A foreign web page can make its own name resolve to 127.0.0.1, which makes it same-origin with this server (DNS rebinding).
 * Its requests still have the foreign name in Host, so only addresses, localhost and declared names are served. A name reported by a proxy is not
 * accepted, because the page may run on the machine of the proxy and set that field itself. A page may also send requests under its own origin.
 */
function refuseForeigners(
  app: FastifyInstance,
  counters: HttpCounters,
  { anyHost, names }: { anyHost: boolean; names: PublicNames | undefined },
): void {
  const pipelines = new Pipelines()
  const turns = new RequestTurns(fineClock)
  app.addHook('onRequest', (request, reply, next) => {
    const { host } = request.headers
    if (!anyHost && !isOwnName(host) && names?.isDeclared(host ?? '') !== true) {
      counters.foreignHosts++
      return reply.code(421).type('text/plain; charset=utf-8').send(FOREIGN_HOST)
    }
    if (isFromForeignPage(request.raw, names)) {
      counters.foreignPages++
      return reply.code(403).type('text/plain; charset=utf-8').send(FOREIGN_PAGE)
    }
    return pipelines.inTurn(request.raw, reply.raw, () => turns.begin(request.raw.socket, next))
  })
}

/** How long the answer to a wrong password waits. */
const WRONG_PASSWORD_MS = 500

/** The routes below `/-/` that are different for each user. */
const OF_USERS = [TOKENS_PATH, ACCESS_PATH]

/** Lets in only requests of users. Other routes below `/-/` are the same for everybody; another path that starts so has no route of its own. */
function askForLogin(app: FastifyInstance, login: HttpLogin, counters: HttpCounters): void {
  const refuse = (reply: FastifyReply, { status, headers, reason }: LoginRefusal) => {
    counters.logins++
    reply.code(status).headers(headers).type('text/plain; charset=utf-8').send(`${reason}\n`)
  }
  app.addHook('onRequest', (request, reply, next) => {
    const { url = '' } = request.routeOptions
    if (url.startsWith('/-/') && !OF_USERS.some((path) => url.startsWith(path))) return next()
    const answer = (refusal: LoginRefusal | undefined) => {
      if (refusal === undefined) next()
      else if (refusal.delayed) setTimeout(() => refuse(reply, refusal), WRONG_PASSWORD_MS)
      else refuse(reply, refusal)
    }
    const letIn = login.letIn(request.raw)
    if (letIn instanceof Promise) letIn.then(answer, next)
    else answer(letIn)
  })
}

/** Whether a Host header (absent in HTTP/1.0) is an IP address or localhost. */
function isOwnName(host: string | undefined): boolean {
  if (host === undefined || host === '') return true
  return /^(\[[0-9a-f:.]+\]|\d{1,3}(\.\d{1,3}){3}|([a-z0-9-]+\.)*localhost)(:\d*)?$/i.test(host)
}

/** `GET /-/status` for `overlayd status` on this machine; others get 404. */
function addStatusRoute(app: FastifyInstance, status: () => ServerStatus): void {
  app.get('/-/status', async (request, reply) => {
    const { forwarded, via } = request.headers
    const proxied = forwarded ?? via ?? request.headers['x-forwarded-for'] ?? request.headers['x-forwarded-host']
    if (!isLoopback(request.socket.remoteAddress ?? '') || !isOwnName(request.headers.host) || proxied !== undefined) {
      return reply.callNotFound()
    }
    return reply.header('cache-control', 'no-store').send(status())
  })
}
