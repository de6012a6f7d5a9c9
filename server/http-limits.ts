import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** More than any office has clients, fewer than the descriptors a process may have. */
const MAX_CONNECTIONS = 4096
/** How long a connection with a request on it may be silent. */
const SILENCE_MS = 120_000

/** What the HTTP process counts beside its doors. */
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
  server.maxConnections = MAX_CONNECTIONS
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
