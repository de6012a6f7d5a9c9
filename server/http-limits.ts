import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { connectionsAllowed } from '../overlay-core/index.ts'
import { fineClock } from './clock.ts'
import { ConnectionRoom, type OpenPlace } from './connection-room.ts'

/** How connections are accepted. The default of 64 KiB would read 128 KiB of a body before anybody reads it. */
export const HTTP_SOCKETS = { allowHalfOpen: true, noDelay: true, highWaterMark: 16_384 }
/** More than the number of clients in any office. */
const MAX_CONNECTIONS = 4096
const MIN_CONNECTIONS = 4
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
  /** Requests that were refused because of the login. */
  logins: number
  /** Connections closed because the client was silent during a request. */
  stalled: number
}

/** Returns counters that are all zero. */
export function newHttpCounters(): HttpCounters {
  return {
    connections: 0,
    requests: 0,
    clientErrors: 0,
    badRequests: 0,
    foreignHosts: 0,
    foreignPages: 0,
    logins: 0,
    stalled: 0,
  }
}

/**
 * Limits the number of connections and how long one may be silent. A client that neither sends the rest of its request nor reads its
 * response is disconnected. A client that waits for the server is not, however long a COPY takes.
 *
 * @returns whether a connection has a request in progress
 */
export function limitConnections(
  server: Server,
  counters: HttpCounters,
  room: HttpRoom = makeRoom(),
  silenceMs: number = SILENCE_MS,
): (socket: Socket) => boolean {
  /** The latest response of each connection. */
  const latest = new WeakMap<Socket, { response: ServerResponse }>()
  room.limit(server)
  server.on('connection', () => {
    counters.connections++
  })
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    counters.requests++
    const connection = latest.get(socket)
    if (connection === undefined) latest.set(socket, { response })
    else connection.response = response
  })
  // Node does not close a silent socket that has a timeout listener, so close it here.
  server.setTimeout(silenceMs, (socket: Socket) => {
    const response = latest.get(socket)?.response
    const answered = response === undefined || response.writableFinished
    const waitsForUs = !answered && response.req.complete && socket.writableLength === 0
    if (waitsForUs) return
    if (!answered) counters.stalled++
    socket.destroy()
  })
  return (socket) => latest.get(socket)?.response?.writableFinished === false
}

/** The room that HTTP connections share. */
export interface HttpRoom {
  /** Limits the connections that a server accepts from now on. */
  limit(server: Server): void
  /** Must be called when an accepted connection continues as an encrypted one. */
  secured(accepted: Socket, secured: Socket): void
  /** The number of open connections. */
  readonly size: number
  /** The open connections. */
  list(): readonly OpenPlace<Socket>[]
}

/** Limits the open connections: by default to what the process has descriptors for. A new connection closes another one: see `ConnectionRoom`. */
export function makeRoom(most: number = mostConnections()): HttpRoom {
  const room = new ConnectionRoom<Socket>(most, fineClock)
  const enter = (socket: Socket) => {
    abortWithoutStackTraces(socket)
    socket.once('close', () => room.remove(socket))
  }
  // One function for all responses, because a new one for each would have to be collected.
  function ended(this: ServerResponse): void {
    room.ended(this.req.socket)
  }
  return {
    limit(server) {
      server.on('connection', (socket: Socket) => {
        enter(socket)
        room.add(socket, socket.remoteAddress ?? '')?.destroy()
      })
      // Before the request is answered, which may be at once.
      server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
        room.begun(socket)
        response.on('close', ended)
        // The client learns that it needs another connection for its next request.
        if (room.isShort) response.shouldKeepAlive = false
      })
    },
    secured(accepted, secured) {
      enter(secured)
      room.replace(accepted, secured)
    },
    get size() {
      return room.size
    },
    list: () => room.list(),
  }
}

/** The maximum number of open HTTP connections of this process: at most `given`. */
export function mostConnections(given: number = MAX_CONNECTIONS): number {
  return Math.max(MIN_CONNECTIONS, Math.min(given, MAX_CONNECTIONS, Math.floor(connectionsAllowed() * HTTP_PART)))
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
