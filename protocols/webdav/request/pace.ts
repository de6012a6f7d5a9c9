import type { DavContext } from '../state/context.ts'

/** From now on the client must regularly send or read data. */
export function limitSilence({ req, services }: DavContext): void {
  req.socket.setTimeout(services.limits.idleMs)
}

/** The client has sent everything and now waits for the server. Node restores its own limits with the next request. */
function allowSilence({ req }: DavContext): void {
  req.socket.setTimeout(0)
}

/** The watches of bodies that began in this turn of the event loop. */
let begun: PaceWatch[] = []

function watchTheRest(): void {
  const late = begun
  begun = []
  for (const watch of late) watch.begin()
}

/**
 * Watches an incoming body: a client that is silent, or sends less than `limits.paceBytes` in `limits.idleMs`, is disconnected, however steadily it sends,
 * because it occupies a connection and a partial file. Time in which the client waits for the server does not count.
 *
 * Most small bodies arrive with the header, so the watch begins with the next turn of the event loop.
 */
export class PaceWatch {
  readonly #ctx: DavContext
  readonly #received: () => number
  readonly #waitsForUs: () => boolean
  #timer: NodeJS.Timeout | undefined
  #ended = false

  /** @param received returns the number of bytes received so far */
  constructor(ctx: DavContext, received: () => number, waitsForUs: () => boolean) {
    this.#ctx = ctx
    this.#received = received
    this.#waitsForUs = waitsForUs
    if (begun.push(this) === 1) setImmediate(watchTheRest)
  }

  /** Begins to watch, unless the body has ended. */
  begin(): void {
    if (this.#ended) return
    const { services, req } = this.#ctx
    const { idleMs, paceBytes } = services.limits
    limitSilence(this.#ctx)
    let before = 0
    this.#timer = setInterval(() => {
      const now = this.#received()
      if (now - before < paceBytes && !this.#waitsForUs()) {
        services.counters.slowUploads++
        req.socket.destroy()
      }
      before = now
    }, idleMs)
  }

  /** The body is `complete`, so that the client waits for the server, or is not read any more. The first call counts. */
  end(complete: boolean): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#timer === undefined) return
    clearInterval(this.#timer)
    if (complete) allowSilence(this.#ctx)
  }
}
