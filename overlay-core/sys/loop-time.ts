/** The time in one turn of the event loop for system calls. Only the last call may exceed it. */
const MOST_MS_PER_TURN = 0.25
/** A call that gave up the processor and took longer than this has waited for something. */
const WAITED_MS = 0.2
/** A call that took this long without being interrupted was slow, for whatever reason. A pause follows every slow call of this length. */
const LONG_MS = 1
/** Slow calls may take one ms out of this many. */
const MS_PER_SLOW_MS = 2000
/** The maximum time, in ms, that slow calls may take after a long period without any. */
const MOST_ALLOWANCE_MS = 25
/**
 * One slow call is no slow disk: a debt of at most so many ms is forgiven, once in this time, when so many trips to threads in a row had no long call. That is a further three thousandth part
 * of the time at most.
 */
const MOST_FORGIVEN_MS = 25
const FORGIVE_EVERY_MS = 100_000
const FAST_TRIPS = 300
/** A long call is followed by a pause of this many times its length, whatever is left of the allowance, because its cause may delay the next call too. */
const PAUSE_TIMES = 20
/** The minimum length of that pause, in ms. */
const LEAST_PAUSE_MS = 100
/** A sync that runs longer than this keeps the journal busy, and a call may have to wait for it. */
const LONG_SYNC_MS = 10
/** A sync that took longer than this shows that the disk is slow. */
const SLOW_SYNC_MS = 50
/** After a slow sync, no call is made on the loop for this many times its length. */
const SYNC_PAUSE_TIMES = 10

/** How often this thread gave up the processor: because it had to wait, or because another thread had to run. */
export interface Switches {
  voluntary: number
  forced: number
}

/** What threads have done so far: trips, modulo 2^32, and calls that took longer than a millisecond. */
export interface Trips {
  readonly trips: number
  readonly long: number
}

export const NO_TRIPS: Trips = { trips: 0, long: 0 }

/**
 * Decides whether a short system call may be made on the event loop, which saves the trip to a thread and back, and watches how long such calls take.
 * Nobody should wait who would not have waited anyway: calls get a little time in each turn of the loop and none for a while after a slow one,
 * and all slow calls together may take a two-thousandth of the time.
 */
export class LoopTime {
  readonly #now: () => number
  readonly #switches: (into: Switches) => void
  readonly #before: Switches = { voluntary: 0, forced: 0 }
  readonly #after: Switches = { voluntary: 0, forced: 0 }
  #began = 0
  /** The time used in this turn, in ms. */
  #used = 0
  #pausedUntil = 0
  /** Until when slow calls have taken more than their part of the time. */
  #inDebtUntil = 0
  /** The time in ms that calls may be slow, as of `#allowedAt`; negative if they were slow for too long. */
  #allowance = MOST_ALLOWANCE_MS
  #allowedAt = 0
  /** The number of running syncs, and since when there have been any. */
  #syncs = 0
  #syncingSince = 0
  /** The number of active prohibitions. */
  #forbidden = 0
  readonly #past: () => Trips
  /** What threads had done when the last long call of theirs was noticed in a pause. */
  #since = NO_TRIPS
  #forgivenAt = -FORGIVE_EVERY_MS
  #turnEnds = false
  readonly #endTurn = () => {
    this.#turnEnds = false
    this.#used = 0
  }

  /** @param now a clock in ms @param switches fills in the counts of the calling thread @param past what threads have done */
  constructor(now: () => number, switches: (into: Switches) => void, past: () => Trips) {
    this.#now = now
    this.#past = past
    this.#switches = switches
  }

  /** Whether a call may be made on the loop now. */
  get free(): boolean {
    if (this.#forbidden > 0 || this.#used >= MOST_MS_PER_TURN) return false
    return (
      (this.#pausedUntil === 0 || this.#isOver()) &&
      (this.#inDebtUntil === 0 || this.#isPaid()) &&
      (this.#syncs === 0 || !this.#syncsLong())
    )
  }

  /** Makes `free` false until `allow` was called as often, for a file system that asks another process or machine. */
  forbid(): void {
    this.#forbidden++
  }

  allow(): void {
    this.#forbidden--
  }

  /** Must be called right before a call, so that waits of the garbage collector for its threads are not counted. */
  begin(): void {
    this.#switches(this.#before)
    this.#began = this.#now()
  }

  /** Must be called right after a call. */
  end(): void {
    const now = this.#now()
    const took = now - this.#began
    this.#used += took
    if (!this.#turnEnds) {
      this.#turnEnds = true
      // Unreferenced, because this must not keep the loop awake.
      setImmediate(this.#endTurn).unref()
    }
    if (took > WAITED_MS && this.#wasSlow(took)) this.#slow(now, took)
  }

  /** Called when a sync starts in the pool. */
  syncBegins(): void {
    if (this.#syncs++ === 0) this.#syncingSince = this.#now()
  }

  /** Called when a sync has ended, with its duration in ms. */
  syncEnds(ms: number): void {
    this.#syncs--
    if (ms > SLOW_SYNC_MS) this.#pause(this.#now(), ms * SYNC_PAUSE_TIMES)
  }

  #syncsLong(): boolean {
    return this.#now() - this.#syncingSince > LONG_SYNC_MS
  }

  /** Time in which another process had the processor is no sign of a slow disk. */
  #wasSlow(took: number): boolean {
    this.#switches(this.#after)
    if (this.#after.voluntary !== this.#before.voluntary) return true
    return took > LONG_MS && this.#after.forced === this.#before.forced
  }

  #slow(now: number, took: number): void {
    const gained = (now - this.#allowedAt) / MS_PER_SLOW_MS
    this.#allowance = Math.min(MOST_ALLOWANCE_MS, this.#allowance + gained) - took
    this.#allowedAt = now
    if (this.#allowance < 0) {
      this.#since = this.#past()
      this.#inDebtUntil = now - this.#allowance * MS_PER_SLOW_MS
    }
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

  #isPaid(): boolean {
    const now = this.#now()
    if (now < this.#inDebtUntil && !this.#isForgiven(now)) return false
    this.#inDebtUntil = 0
    return true
  }

  #isForgiven(now: number): boolean {
    if (now - this.#forgivenAt < FORGIVE_EVERY_MS || this.#allowance < -MOST_FORGIVEN_MS) return false
    const past = this.#past()
    if (past.long !== this.#since.long) this.#since = past
    if (((past.trips - this.#since.trips) | 0) < FAST_TRIPS) return false
    this.#forgivenAt = now
    this.#allowedAt = now
    this.#allowance = 0
    return true
  }
}
