import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from 'fastify'
import { isLoopback } from '../config/index.ts'
import { isFromForeignPage } from './foreign-pages.ts'
import { type HttpCounters, limitConnections, newHttpCounters } from './http-limits.ts'
import { Pipelines } from './pipelining.ts'
import type { PublicNames } from './public-names.ts'
import type { ServerStatus } from './status.ts'

/** What the HTTP process needs to know. */
export interface AppOptions {
  readonly log: FastifyBaseLogger
  /** Without a login only names of this machine are answered to, unless the operator chose otherwise. */
  readonly anyHost: boolean
  /** Further names that are answered to. */
  readonly names?: PublicNames
  readonly status: () => ServerStatus
}

/** The HTTP process: its Fastify instance and what it counts. */
export interface App {
  readonly app: FastifyInstance
  readonly counters: HttpCounters
}

/** Builds the HTTP process without listening; tests inject into it. WebDAV adds its routes to `app` before it listens. */
export function buildApp({ log, anyHost, names, status }: AppOptions): App {
  const counters = newHttpCounters()
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 65_536 },
    // A path of 4,096 bytes may come percent-encoded in the request line and in Destination, beside If with its tokens.
    http: { maxHeaderSize: 65_536, headersTimeout: 30_000 },
    // No limit on the whole request: an upload takes as long as it takes. Silence is limited: see http-limits.
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
      const head = CLIENT_ERRORS[error.code ?? ''] ?? '400 Bad Request'
      socket.end(`HTTP/1.1 ${head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    },
  })
  limitConnections(app.server, counters)
  refuseForeigners(app, counters, { anyHost, names })
  addStatusRoute(app, status)
  return { app, counters }
}

/** Answers to what Node's parser refuses, by its error codes. */
const CLIENT_ERRORS: Record<string, string> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** What a request is refused for before anything is done about it. */
const FOREIGN_HOST =
  'This server has no login, so it answers only to localhost, IP addresses and names given with --public-url.\n'
const FOREIGN_PAGE =
  "A page of another origin may only link to this server. If this is the server's own page behind a proxy, give its URL with --public-url.\n"

/**
 * A page from elsewhere can make its own name resolve to 127.0.0.1 and would then be same-origin with this server (DNS rebinding).
 * Such a request still carries the foreign name in Host: only addresses, localhost and declared names are served. What a proxy reports is no such
 * name, as the page may run on the machine of the proxy and write that field itself. Or it sends requests here under its own name.
 */
function refuseForeigners(
  app: FastifyInstance,
  counters: HttpCounters,
  { anyHost, names }: { anyHost: boolean; names: PublicNames | undefined },
): void {
  const pipelines = new Pipelines()
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
    return pipelines.inTurn(request.raw, reply.raw, next)
  })
}

/** Whether a Host header (absent in HTTP/1.0) is an IP address or localhost. */
function isOwnName(host: string | undefined): boolean {
  if (host === undefined || host === '') return true
  return /^(\[[0-9a-f:.]+\]|\d{1,3}(\.\d{1,3}){3}|([a-z0-9-]+\.)*localhost)(:\d*)?$/i.test(host)
}

/** `GET /-/status` for this machine's own `overlayd status`; nobody else learns that it is there. */
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
