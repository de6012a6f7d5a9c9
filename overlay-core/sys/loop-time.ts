/** So much of one turn of the event loop goes to system calls, and what the last of them takes beyond it. */
const MOST_MS_PER_TURN = 0.25
/** A call that let the processor go for so long has waited for something. */
const WAITED_MS = 0.2
/** A call that took so long, without being interrupted, was long for any reason; and after one that waited for so long comes a pause. */
const LONG_MS = 1
/** Of so many ms the loop may stand still for one in calls that were slow. */
const MS_PER_SLOW_MS = 2000
/** Where none was slow for long, so many ms of it are free. */
const MOST_ALLOWANCE_MS = 10
/** A long call is followed by a pause of so many times its length, whatever is left of the allowance: what it waited for may keep the next one, too. */
const PAUSE_TIMES = 20
/** And as long as this at least, in ms. */
const LEAST_PAUSE_MS = 100
/** A sync that runs for longer keeps the journal busy, for which a call may have to wait. */
const LONG_SYNC_MS = 10
/** A sync that took longer says that the disk is slow. */
const SLOW_SYNC_MS = 50
/** So many times as long as that no call is made on the loop. */
const SYNC_PAUSE_TIMES = 10

/** How often this thread has let the processor go: because it had to wait, and because another was to run. */
export interface Switches {
  voluntary: number
  forced: number
}

/**
 * Decides whether a short system call may be made on the event loop, which saves the trip to a thread and back, and watches how long they take. Nobody is to wait who would not
 * have waited anyway: there is a little time for them in each turn of the loop, after one that was slow there is none for a while,
 * and all that were slow together may take a two-thousandth of the time.
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
  /** For how long calls may be slow, ms, at the time `#allowedAt`; less than 0 when they were for too long. */
  #allowance = MOST_ALLOWANCE_MS
  #allowedAt = 0
  /** Syncs under way, and since when there is one. */
  #syncs = 0
  #syncingSince = 0
  /** The number of active prohibitions. */
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

  /** Whether a call may be made on the loop now. */
  get free(): boolean {
    if (this.#forbidden > 0 || this.#used >= MOST_MS_PER_TURN) return false
    return (this.#pausedUntil === 0 || this.#isOver()) && (this.#syncs === 0 || !this.#syncsLong())
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

  /** Called when a sync starts in the pool. */
  syncBegins(): void {
    if (this.#syncs++ === 0) this.#syncingSince = this.#now()
  }

  /** Called when it has ended, with its duration in ms. */
  syncEnds(ms: number): void {
    this.#syncs--
    if (ms > SLOW_SYNC_MS) this.#pause(this.#now(), ms * SYNC_PAUSE_TIMES)
  }

  #syncsLong(): boolean {
    return this.#now() - this.#syncingSince > LONG_SYNC_MS
  }

  /** That another process had the processor meanwhile says nothing about the disk. */
  #wasSlow(took: number): boolean {
    this.#switches(this.#after)
    if (this.#after.voluntary !== this.#before.voluntary) return true
    return took > LONG_MS && this.#after.forced === this.#before.forced
  }

  #slow(now: number, took: number): void {
    const gained = (now - this.#allowedAt) / MS_PER_SLOW_MS
    this.#allowance = Math.min(MOST_ALLOWANCE_MS, this.#allowance + gained) - took
    this.#allowedAt = now
    if (this.#allowance < 0) this.#pause(now, -this.#allowance * MS_PER_SLOW_MS)
    if (took > LONG_MS) this.#pause(now, Math.max(LEAST_PAUSE_MS, took * PAUSE_TIMES))
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
