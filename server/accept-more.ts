import { createServer, type Server, type ServerOpts, type Socket } from 'node:net'
import type { Logger } from 'pino'
import { duplicateDescriptor } from '../overlay-core/index.ts'

/** The number of connections that wait to be accepted. The kernel drops further ones, and their clients try again after a second. */
export const BACKLOG = 4096
/** The maximum number of connections that are accepted in one turn of the event loop. Accepting one takes about 50 µs. */
const MOST_IN_A_TURN = 32
/** A listener with fewer connections than this accepts one in each turn. */
const CONNECTIONS_PER_HANDLE = 32

/**
 * Lets a listening server accept several connections in one turn of the event loop. Node accepts one in each turn, so a new client would wait for
 * hundreds of turns behind the connections of another client. Accepted connections are emitted by `server`.
 *
 * @param options how connections are accepted: the same as those of `server`
 * @param most the maximum number of open connections of this listener
 * @returns a function that stops accepting and resolves when these connections are closed
 */
export function acceptMore(
  server: Server,
  options: ServerOpts,
  most: number,
  log: Pick<Logger, 'error'>,
): () => Promise<void> {
  const descriptor = descriptorOf(server)
  const count = descriptor === undefined ? 0 : Math.min(MOST_IN_A_TURN - 1, Math.floor(most / CONNECTIONS_PER_HANDLE))
  const others = Array.from({ length: count }, () => {
    const other = createServer(options, (socket: Socket) => server.emit('connection', socket))
    other.on('error', (error) => log.error({ err: error }, 'cannot accept a connection'))
    // Every handle watches its own descriptor of the same socket.
    return other.listen({ fd: duplicateDescriptor(descriptor!) }, BACKLOG)
  })
  return async () => {
    await Promise.all(others.map((other) => new Promise<void>((resolve) => other.close(() => resolve()))))
  }
}

/** The descriptor of a listening socket, for which Node has no public call; undefined if a newer Node does not tell it. */
function descriptorOf(server: Server): number | undefined {
  const { _handle: handle } = server as unknown as { _handle?: { readonly fd?: number } | null }
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined
}
