/** How long long work may hold the event loop in one turn, ms: all such work of the process together. */
const TURN_MS = 2
/** Steps between two looks at the clock: none of them takes more than some 100 µs. */
const STEPS_PER_LOOK = 8

/**
 * Shares the event loop between long work and everything else. All work that loops over data of a client's or a directory's size asks `spent` in each
 * round, and rests when it is told to: together it gets 2 ms of every turn of the loop, however much of it there is.
 *
 *     for (const entry of entries) {
 *       if (loopBudget.spent) await loopBudget.rest()
 *       …
 *     }
 */
export class LoopBudget {
  readonly #now: () => number
  /** Those that rest, the first one longest; `#next` is the first that has not gone on. */
  #resting: (() => void)[] = []
  #next = 0
  #steps = 0
  /** When the present turn began, by the clock. */
  #startMs = 0
  #armed = false

  /** @param now a clock that never goes back, ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether long work has had its share of this turn. To be asked once per step. */
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

  /** Resolves in a later turn of the loop: one of those that rest goes on in each. */
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
