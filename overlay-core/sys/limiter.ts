/** Work that waits for a slot of the limiter. */
export interface Waiting {
  next: Waiting | undefined
  start(): void
}

/**
 * Lets at most `places` pieces of work run at a time, and starts the others in the order in which they came.
 * `enter` starts the work now or later; started work must call `leave` exactly once at its end.
 */
export class Limiter {
  readonly places: number
  inFlight = 0
  queued = 0
  #first: Waiting | undefined
  #last: Waiting | undefined

  constructor(places: number) {
    this.places = places
  }

  enter(work: Waiting): void {
    if (this.inFlight < this.places) {
      this.inFlight++
      work.start()
      return
    }
    this.queued++
    if (this.#last === undefined) this.#first = work
    else this.#last.next = work
    this.#last = work
  }

  /** Passes the slot on to the longest waiting work, if any. */
  leave(): void {
    const work = this.#first
    if (work === undefined) {
      this.inFlight--
      return
    }
    this.queued--
    this.#first = work.next
    if (work.next === undefined) this.#last = undefined
    work.next = undefined
    work.start()
  }
}
