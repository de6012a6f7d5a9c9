/** How long the loop stays awake for the next request, in ms: about what a wake-up costs, with the client's own work. */
const WINDOW_MS = 0.1
/** So many requests must have come within the window in a row before it does. */
const ENOUGH = 16
/** Turns of the loop without a request, of about a microsecond each, after which it sleeps, whatever the clock says. */
const MAX_TURNS = 256

/**
 * Keeps the event loop awake for a moment after a request that was answered at once, when the requests before came so quickly that it would hardly
 * fall asleep before the next: falling asleep and being woken takes longer than answering. A client that pauses for a tenth of a millisecond ends it.
 */
export class BusyPoll {
  readonly #now: () => number
  #lastMs = Number.NEGATIVE_INFINITY
  #inARow = 0
  #awake = false
  #turns = 0

  /** @param now a clock that never goes back, in ms with fractions */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether the loop is kept awake. */
  get awake(): boolean {
    return this.#awake
  }

  /** Requests have come and are answered; nothing waits for a disk. */
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
