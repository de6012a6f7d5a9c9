import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { connectionsAllowed } from '../overlay-core/index.ts'
import { ConnectionRoom } from './connection-room.ts'

/** More than the number of clients in any office. */
const MAX_CONNECTIONS = 4096
/** The share of the connections of this process that HTTP may use; the rest is for NFS. */
const HTTP_PART = 0.6
/** How long a connection with a request in progress may be silent. */
const SILENCE_MS = 120_000

/** The counters of the HTTP process. */
export interface HttpCounters {
  /** Connections accepted so far. */
  connections: number
  requests: number
  /** Requests that Node's parser or a timeout aborted. */
  clientErrors: number
  /** Requests with malformed URLs. */
  badRequests: number
  /** Refused requests for another host name. */
  foreignHosts: number
  /** Refused requests from pages of other origins. */
  foreignPages: number
  /** Connections closed because the client was silent during a request. */
  stalled: number
}

/** Returns counters that are all zero. */
export function newHttpCounters(): HttpCounters {
  return { connections: 0, requests: 0, clientErrors: 0, badRequests: 0, foreignHosts: 0, foreignPages: 0, stalled: 0 }
}

/**
 * Limits the number of connections and how long one may be silent. A client that neither sends the rest of its request nor reads its
 * response is disconnected. A client that waits for the server is not, however long a COPY takes.
 */
export function limitConnections(server: Server, counters: HttpCounters, silenceMs: number = SILENCE_MS): void {
  const current = new WeakMap<Socket, { request: IncomingMessage; response: ServerResponse }>()
  makeRoom(server, current)
  server.on('connection', () => {
    counters.connections++
  })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    counters.requests++
    current.set(request.socket, { request, response })
  })
  // Node does not close a silent socket that has a timeout listener, so close it here.
  server.setTimeout(silenceMs, (socket: Socket) => {
    const exchange = current.get(socket)
    const answered = exchange === undefined || exchange.response.writableFinished
    const waitsForUs = !answered && exchange.request.complete && socket.writableLength === 0
    if (waitsForUs) return
    if (!answered) counters.stalled++
    socket.destroy()
  })
}

type Exchange = { readonly request: IncomingMessage; readonly response: ServerResponse }

/** Limits the open connections to what the process has descriptors for. A new connection closes another one: see `ConnectionRoom`. */
function makeRoom(server: Server, current: WeakMap<Socket, Exchange>): void {
  const most = Math.max(2, Math.min(MAX_CONNECTIONS, Math.floor(connectionsAllowed() * HTTP_PART)))
  const room = new ConnectionRoom<Socket>(most)
  const isBusy = (socket: Socket) => {
    const exchange = current.get(socket)
    return exchange !== undefined && !exchange.response.writableFinished
  }
  server.maxConnections = most + 1
  server.on('connection', (socket: Socket) => {
    abortWithoutStackTraces(socket)
    socket.once('close', () => room.remove(socket))
    room.add(socket, socket.remoteAddress ?? '', isBusy)?.destroy()
  })
  server.on('request', ({ socket }: IncomingMessage) => room.touch(socket))
}

const STACK_TRACE_LIMIT = Error.stackTraceLimit

/**
 * Node makes an error for each unfinished request of a connection that closes, and formats its stack trace, which nobody reads. When a thousand connections with several requests close at once,
 * this takes most of the time. So there are no stack traces while the listeners of `close` run.
 */
function abortWithoutStackTraces(socket: Socket): void {
  socket.prependListener('close', () => {
    Error.stackTraceLimit = 0
  })
  socket.on('close', () => {
    Error.stackTraceLimit = STACK_TRACE_LIMIT
  })
}
