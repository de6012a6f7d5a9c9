/** How long the event loop polls for the next request, in ms: about the cost of a wake-up plus the client's own work. */
const WINDOW_MS = 0.1
/** The number of consecutive requests within the window that starts polling. */
const ENOUGH = 16
/** The number of turns without a request, of about a microsecond each, after which polling ends regardless of the clock. */
const MAX_TURNS = 256

/**
 * Keeps the event loop awake briefly after a request that was answered at once, if earlier requests came so fast that it would hardly
 * sleep before the next one: going to sleep and waking up takes longer than a reply. A client that pauses for a tenth of a millisecond ends it.
 */
export class BusyPoll {
  readonly #now: () => number
  #lastMs = Number.NEGATIVE_INFINITY
  #inARow = 0
  #awake = false
  #turns = 0

  /** @param now a monotonic clock, in ms with fractions */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Call it after requests were answered and nothing waits for a disk. */
  answered(): void {
    const nowMs = this.#now()
    this.#inARow = nowMs - this.#lastMs < WINDOW_MS ? this.#inARow + 1 : 0
    this.#lastMs = nowMs
    this.#turns = 0
    if (this.#awake || this.#inARow < ENOUGH) return
    this.#awake = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#awake = ++this.#turns < MAX_TURNS && this.#now() - this.#lastMs < WINDOW_MS
    if (this.#awake) setImmediate(this.#turn)
  }
}
