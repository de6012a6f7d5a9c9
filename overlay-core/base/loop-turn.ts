/** The time that all long work of the process together may use in one turn of the event loop, in ms. */
const TURN_MS = 2
/** The number of steps between two clock readings; no step takes more than about 100 µs. */
const STEPS_PER_LOOK = 8

/**
 * Shares the event loop between long work and everything else. All work that loops over data of a client's or a directory's size checks `spent` in each
 * round and calls `rest` if it is true: all such work together gets 2 ms of every turn of the loop.
 *
 *     for (const entry of entries) {
 *       if (loopBudget.spent) await loopBudget.rest()
 *       …
 *     }
 */
export class LoopBudget {
  readonly #now: () => number
  /** Resting work, longest first; `#next` is the first that has not resumed. */
  #resting: (() => void)[] = []
  #next = 0
  #steps = 0
  /** When the present turn began. */
  #startMs = 0
  #armed = false

  /** @param now a monotonic clock, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether long work has used its share of this turn. Check it once per step. */
  get spent(): boolean {
    if (++this.#steps % STEPS_PER_LOOK !== 0) return false
    const nowMs = this.#now()
    if (!this.#armed) {
      this.#startMs = nowMs
      this.#arm()
      return false
    }
    return nowMs - this.#startMs >= TURN_MS
  }

  /** Resolves in a later turn of the loop; one resting task resumes per turn. */
  rest(): Promise<void> {
    return new Promise((resolve) => {
      this.#resting.push(resolve)
      if (!this.#armed) this.#arm()
    })
  }

  #arm(): void {
    this.#armed = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#armed = false
    const resume = this.#resting[this.#next]
    if (resume === undefined) return
    this.#next++
    if (this.#next === this.#resting.length) {
      this.#resting = []
      this.#next = 0
    }
    this.#startMs = this.#now()
    this.#arm()
    resume()
  }
}

/** The budget of this process, which has one event loop. */
export const loopBudget = new LoopBudget(() => performance.now())
