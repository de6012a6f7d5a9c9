/** So much of one turn of the event loop goes to system calls, and what the last of them takes beyond it. */
const MOST_MS_PER_TURN = 0.25
/** A call that let the processor go for so long has waited for something. */
const WAITED_MS = 0.2
/** A call that took so long, without being interrupted, was long for any reason. */
const LONG_MS = 1
/** After a call that was slow none is made on the loop for so many times as long, so that the loop stands still for no more than this part of the time. */
const PAUSE_TIMES = 2000
/** The first time may be chance, as a page of the program that had to be read: so many times as long. */
const FIRST_PAUSE_TIMES = 100
/** It is a first time again when none was slow for so long. */
const FORGOTTEN_MS = 300_000
/** And as long as this at least, in ms. */
const LEAST_PAUSE_MS = 1000
/** A sync that took longer says that the disk is slow. */
const SLOW_SYNC_MS = 50
/** So many times as long as that no call is made on the loop. */
const SYNC_PAUSE_TIMES = 200

/** How often this thread has let the processor go: because it had to wait, and because another was to run. */
export interface Switches {
  voluntary: number
  forced: number
}

/**
 * Decides whether a short system call may be made on the event loop, which saves the trip to a thread and back, and watches how long they take. Nobody is to wait who would not
 * have waited anyway: there is a little time for them in each turn of the loop, and after one that was slow there is none for a while.
 */
export class LoopTime {
  readonly #now: () => number
  readonly #switches: (into: Switches) => void
  readonly #before: Switches = { voluntary: 0, forced: 0 }
  readonly #after: Switches = { voluntary: 0, forced: 0 }
  #began = 0
  /** Time of this turn that has been used, in ms. */
  #used = 0
  #pausedUntil = 0
  #lastSlow = -FORGOTTEN_MS
  /** Who has forbidden it. */
  #forbidden = 0
  #turnEnds = false
  readonly #endTurn = () => {
    this.#turnEnds = false
    this.#used = 0
  }

  /** @param now a clock in ms @param switches fills in those of the calling thread */
  constructor(now: () => number, switches: (into: Switches) => void) {
    this.#now = now
    this.#switches = switches
  }

  /** Whether a call may be made now. */
  get free(): boolean {
    return this.#forbidden === 0 && this.#used < MOST_MS_PER_TURN && (this.#pausedUntil === 0 || this.#isOver())
  }

  /** No call is made on the loop until `allow` was called as often: some file system asks somebody else. */
  forbid(): void {
    this.#forbidden++
  }

  allow(): void {
    this.#forbidden--
  }

  /** Right before a call: that the collector of garbage waits for its threads is not to count. */
  begin(): void {
    this.#switches(this.#before)
    this.#began = this.#now()
  }

  /** Right after it. */
  end(): void {
    const now = this.#now()
    const took = now - this.#began
    this.#used += took
    if (!this.#turnEnds) {
      this.#turnEnds = true
      // Not for its own sake: the loop may sleep before that.
      setImmediate(this.#endTurn).unref()
    }
    if (took > WAITED_MS && this.#wasSlow(took)) this.#slow(now, took)
  }

  /** Told how long a sync in the pool took. */
  synced(ms: number): void {
    if (ms > SLOW_SYNC_MS) this.#pause(this.#now(), ms * SYNC_PAUSE_TIMES)
  }

  /** That another process had the processor meanwhile says nothing about the disk. */
  #wasSlow(took: number): boolean {
    this.#switches(this.#after)
    if (this.#after.voluntary !== this.#before.voluntary) return true
    return took > LONG_MS && this.#after.forced === this.#before.forced
  }

  #slow(now: number, took: number): void {
    const isFirst = now - this.#lastSlow > FORGOTTEN_MS
    this.#lastSlow = now
    this.#pause(now, Math.max(LEAST_PAUSE_MS, took * (isFirst ? FIRST_PAUSE_TIMES : PAUSE_TIMES)))
  }

  #pause(now: number, ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, now + ms)
  }

  #isOver(): boolean {
    if (this.#now() < this.#pausedUntil) return false
    this.#pausedUntil = 0
    return true
  }
}
