import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that one connection may send ahead. No client in use sends any; each takes some ten KB until it is answered. */
const MAX_AHEAD = 32

interface Line {
  /** The response of the last request that came. */
  last: ServerResponse
  /** Requests that wait for the one before them. */
  waiting: number
}

/**
 * Requests of a connection that come before the answer to the one before them has left (pipelining, RFC 9112 section 9.3.2) begin when their turn comes: Node would begin them
 * all at once and keep whole answers that cannot leave yet. A connection that sends too many ahead is closed.
 */
export class Pipelines {
  readonly #lines = new WeakMap<Socket, Line>()

  /** Calls `go` when the request's turn has come: at once for the first, never when the connection goes meanwhile. */
  inTurn({ socket }: IncomingMessage, response: ServerResponse, go: () => void): void {
    const line = this.#lines.get(socket)
    if (line === undefined) {
      this.#lines.set(socket, { last: response, waiting: 0 })
      go()
      return
    }
    const before = line.last
    line.last = response
    if (before.writableFinished) go()
    else if (++line.waiting > MAX_AHEAD) socket.destroy()
    else this.#wait(socket, line, before, go)
  }

  #wait(socket: Socket, line: Line, before: ServerResponse, go: () => void): void {
    before.once('finish', () => {
      line.waiting--
      if (!socket.destroyed) go()
    })
  }
}
