import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fastify, {
  type FastifyBaseLogger,
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  LogController,
} from 'fastify'
import { isLoopback } from '../config/index.ts'
import { HTTP_MESSAGES, KEEP_ALIVE_SECONDS } from '../protocols/webdav/index.ts'
import { fineClock } from './clock.ts'
import type { OpenPlace } from './connection-room.ts'
import { DirectRequests } from './direct-requests.ts'
import { isFromForeignPage } from './foreign-pages.ts'
import {
  HTTP_SOCKETS,
  type HttpCounters,
  limitConnections,
  makeRoom,
  mostConnections,
  newHttpCounters,
} from './http-limits.ts'
import {
  ACCESS_PATH,
  type HttpLogin,
  type LoginRefusal,
  MINE_PATH,
  TOKENS_PATH,
  WRONG_PASSWORD_MS,
} from './login/index.ts'
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

const HTTP_OPTIONS = {
  ...HTTP_MESSAGES,
  // The request line and Destination may each contain a percent-encoded path of 4,096 bytes, besides the tokens in If.
  maxHeaderSize: 65_536,
  headersTimeout: 30_000,
  highWaterMark: HTTP_SOCKETS.highWaterMark,
  // Requests without a body need no events about it.
  optimizeEmptyRequests: true,
}

/** How long a refused connection stays open so that its client can read the reason, in ms. */
const AFTER_ERROR_MS = 5_000

/** The HTTP process: its Fastify instance and its counters. */
export interface App {
  readonly app: FastifyInstance
  readonly counters: HttpCounters
  /** Takes requests past Fastify. */
  readonly direct: DirectRequests
  /** The maximum number of connections. */
  readonly connections: number
  /** The counters of encryption; undefined if there is none. */
  readonly tls: TlsCounters | undefined
  /** The number of open connections. */
  readonly openCount: () => number
  /** The open connections. */
  readonly open: () => readonly OpenPlace<Socket>[]
  /** Stops further listeners, and resolves when their connections are closed. */
  stopAccepting: () => Promise<void>
}

/** Builds the HTTP process without listening. Tests inject requests; WebDAV adds its routes before `app` listens. */
export function buildApp({ log, anyHost, names, login, status, connections, handshakes }: AppOptions): App {
  const counters = newHttpCounters()
  const app = fastify(fastifyOptions(counters, (socket) => isBusy(socket)))
  // Given as an option, it would make Fastify watch each response in order to log it.
  app.log = log
  // What the server listens to now is for connections whose handshake has succeeded; the limits are for all.
  const most = mostConnections(connections)
  const room = makeRoom(most)
  if (handshakes !== undefined)
    encryptHttp(app.server, handshakes, (accepted, secured) => {
      belongTo(app.server, secured)
      room.secured(accepted, secured)
    })
  app.server.on('connection', (socket: Socket) => belongTo(app.server, socket))
  const hosts = new KnownHosts(anyHost, names)
  const inTurn = requestOrder()
  const letIn = askForLogin(login, counters)
  const direct = new DirectRequests(app.server, {
    isWelcome: (req) => hosts.answers(req) && !isFromForeignPage(req, names),
    inTurn,
    letIn,
  })
  const isBusy = limitConnections(app.server, counters, room)
  refuseForeigners(app, counters, hosts, names)
  app.addHook('onRequest', (request, reply, next) => inTurn(request.raw, reply.raw, next))
  addLoginHook(app, letIn)
  app.addHook('preClose', (done) => {
    direct.goTo(undefined)
    done()
  })
  addStatusRoute(app, status)
  const open = () => room.list()
  return {
    app,
    counters,
    direct,
    open,
    openCount: () => room.size,
    connections: most,
    tls: handshakes?.counters,
    stopAccepting: async () => undefined,
  }
}

/** How Fastify is set up. `isBusy`: whether a connection has a request in progress. */
function fastifyOptions(counters: HttpCounters, isBusy: (socket: Socket) => boolean): FastifyHttpOptions<Server> {
  return {
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 65_536 },
    http: HTTP_OPTIONS,
    // There is no limit for a whole request, because uploads may be long. http-limits limits silence.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_SECONDS * 1000,
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
  }
}

/** Node asks the server of a connection for the class of its requests, and connections may be accepted by another one. */
function belongTo(server: Server, socket: Socket): void {
  Object.assign(socket, { server })
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
  hosts: KnownHosts,
  names: PublicNames | undefined,
): void {
  app.addHook('onRequest', (request, reply, next) => {
    if (!hosts.answers(request.raw)) {
      counters.foreignHosts++
      return reply.code(421).type('text/plain; charset=utf-8').send(FOREIGN_HOST)
    }
    if (isFromForeignPage(request.raw, names)) {
      counters.foreignPages++
      return reply.code(403).type('text/plain; charset=utf-8').send(FOREIGN_PAGE)
    }
    return next()
  })
}

/** The host names that are answered. */
class KnownHosts {
  readonly #any: boolean
  readonly #names: PublicNames | undefined
  /** The name that was looked at last, because most requests have the same one. */
  #last: string | undefined

  constructor(any: boolean, names: PublicNames | undefined) {
    this.#any = any
    this.#names = names
  }

  answers({ headers: { host } }: IncomingMessage): boolean {
    if (this.#any || host === this.#last) return true
    if (!isOwnName(host) && this.#names?.isDeclared(host ?? '') !== true) return false
    this.#last = host
    return true
  }
}

/** Starts requests one after the other on each connection, and in turns of the event loop. */
function requestOrder(): (req: IncomingMessage, res: ServerResponse, go: () => void) => void {
  const pipelines = new Pipelines()
  const turns = new RequestTurns(fineClock)
  return (req, res, go) => pipelines.inTurn(req, res, () => turns.begin(req.socket, go))
}

/** The routes below `/-/` that are different for each user. */
const OF_USERS = [TOKENS_PATH, ACCESS_PATH, MINE_PATH]

type LetIn = (req: IncomingMessage, res: ServerResponse, go: () => void) => void

/** Lets in only requests of users. */
function askForLogin(login: HttpLogin | undefined, counters: HttpCounters): LetIn {
  if (login === undefined) return (_req, _res, go) => go()
  const refuse = (res: ServerResponse, { status, headers, reason }: LoginRefusal) => {
    counters.logins++
    const text = `${reason}\n`
    const type = { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text) }
    res.writeHead(status, { ...headers, ...type }).end(text)
  }
  return (req, res, go) => {
    const answer = (refusal: LoginRefusal | undefined) => {
      if (refusal === undefined) go()
      else if (refusal.delayed) setTimeout(() => refuse(res, refusal), WRONG_PASSWORD_MS)
      else refuse(res, refusal)
    }
    const letIn = login.letIn(req)
    if (letIn instanceof Promise) void letIn.then(answer)
    else answer(letIn)
  }
}

/** Other routes below `/-/` are the same for everybody; another path that starts so has no route of its own. */
function addLoginHook(app: FastifyInstance, letIn: LetIn): void {
  app.addHook('onRequest', (request, reply, next) => {
    const { url = '' } = request.routeOptions
    if (url.startsWith('/-/') && !OF_USERS.some((path) => url.startsWith(path))) return next()
    // The hook does not end the request if it is refused.
    letIn(request.raw, reply.raw, next)
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
