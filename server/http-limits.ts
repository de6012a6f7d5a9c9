import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { connectionsAllowed } from '../overlay-core/index.ts'

/** More than any office has clients. */
const MAX_CONNECTIONS = 4096
/** The part of the connections of this process that HTTP may have; the others are for NFS. */
const HTTP_PART = 0.6
/** How long a connection with a request on it may be silent. */
const SILENCE_MS = 120_000

/** What the HTTP process counts itself. */
export interface HttpCounters {
  /** Connections accepted so far. */
  connections: number
  requests: number
  /** Requests that Node's parser or a timeout cut off. */
  clientErrors: number
  /** URLs that no route can be found for because they are malformed. */
  badRequests: number
  /** Requests in the name of another host, refused. */
  foreignHosts: number
  /** Requests made by pages of other origins, refused. */
  foreignPages: number
  /** Connections closed because their client fell silent within a request. */
  stalled: number
}

/** All at zero. */
export function newHttpCounters(): HttpCounters {
  return { connections: 0, requests: 0, clientErrors: 0, badRequests: 0, foreignHosts: 0, foreignPages: 0, stalled: 0 }
}

/**
 * Bounds the number of connections and how long one may hang: a client that neither sends the rest of its request nor takes its
 * answer is cut off. One that waits for the server is not, however long a COPY takes.
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
  // With a listener of our own Node leaves it to us to close the silent socket.
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

/** Lets no more connections stay than the process has descriptors for: a new one takes the place of the one that has had no request for longest. */
function makeRoom(server: Server, current: WeakMap<Socket, Exchange>): void {
  const most = Math.max(2, Math.min(MAX_CONNECTIONS, Math.floor(connectionsAllowed() * HTTP_PART)))
  /** In the order of their last request. */
  const open = new Set<Socket>()
  server.maxConnections = most + 1
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    if (open.size <= most) return
    for (const other of open) {
      const exchange = current.get(other)
      if (exchange !== undefined && !exchange.response.writableFinished) continue
      other.destroy()
      open.delete(other)
      return
    }
  })
  server.on('request', ({ socket }: IncomingMessage) => {
    open.delete(socket)
    open.add(socket)
  })
}
