import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** The number of pipelined requests allowed on one connection. No known client sends any; each takes about 10 KB until it is answered. */
const MAX_AHEAD = 32

interface Line {
  /** The response to the latest request. */
  last: ServerResponse
  /** The number of requests that wait for the one before them. */
  waiting: number
}

/**
 * Starts pipelined requests (RFC 9112 section 9.3.2) one after the other: Node would start them
 * all at once and buffer responses that cannot be sent yet. A connection that pipelines too many requests is closed.
 */
export class Pipelines {
  readonly #lines = new WeakMap<Socket, Line>()

  /** Calls `go` when it is the request's turn: at once for the first, never if the connection closes first. */
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
