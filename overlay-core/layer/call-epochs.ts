/** Closes descriptors that were taken out of use. */
export interface DescriptorOwner {
  /** Closes `fd`, which no running call can use any more. */
  close(fd: number): void
}

/** The epochs of calls that can use the same descriptors: each retired descriptor begins another one. */
export interface EpochClock {
  now: number
}

interface Retired {
  readonly epoch: number
  /** The epoch in which calls could begin to use it; -1 if that is not known. */
  readonly born: number
  readonly fd: number
  readonly owner: DescriptorOwner
}

/** The calls that began before a descriptor was retired, in `until` or earlier, and after the one retired before it. */
interface Earlier {
  readonly until: number
  running: number
}

/**
 * Counts running calls, to tell when a descriptor that was taken out of use can be closed: after all calls that were running then have ended, so that no
 * call can use a number that was closed and reused for another file. A call is told apart by the epoch in which it began.
 *
 * A call that rests, because it waits for a long copy, cannot use what others open meanwhile. So a descriptor that was opened after calls began to rest
 * does not wait for them.
 */
export class CallEpochs {
  readonly clock: EpochClock
  /** The epoch in which the last descriptor was retired. `Descriptors` reads it, and counts running calls, without calling anything. */
  lastRetired = -1
  /** The number of running calls that began after `lastRetired`. */
  runningNow = 0
  /** Whether descriptors wait to be closed. */
  hasRetired = false
  /** Oldest first, each with running calls. */
  #earlier: Earlier[] = []
  #retired: Retired[] = []
  /** When the calls that rest now began to, in ascending order. */
  readonly #resting: number[] = []
  #drainScheduled = false

  constructor(clock: EpochClock = { now: 0 }) {
    this.clock = clock
  }

  /** The end of a call that began in `epoch`, which is not after `lastRetired`. */
  leaveEarlier(epoch: number): void {
    const part = this.#earlier.find(({ until }) => epoch <= until) as Earlier
    if (--part.running === 0) this.#earlier = this.#earlier.filter((each) => each !== part)
  }

  /** A running call begins to wait, without using any descriptor that it does not have yet. Pass the result to `goOn` before it uses others. */
  rest(): number {
    const { now } = this.clock
    this.#resting.push(now)
    if (this.hasRetired) this.scheduleDrain()
    return now
  }

  /** The end of that. */
  goOn(since: number): void {
    this.#resting.splice(this.#resting.lastIndexOf(since), 1)
  }

  /** Makes `owner` close `fd` once no running call can use it. `born`: `clock.now` when calls could begin to use it, if that is known. */
  retire(fd: number, owner: DescriptorOwner, born = -1): void {
    const epoch = this.clock.now++
    this.#retired.push({ epoch, born, fd, owner })
    this.hasRetired = true
    if (this.runningNow > 0) this.#earlier.push({ until: epoch, running: this.runningNow })
    this.runningNow = 0
    this.lastRetired = epoch
    this.scheduleDrain()
  }

  /** Closes all retired descriptors of `owner` at once. None of the calls that can use them may be running. */
  closeAllOf(owner: DescriptorOwner): void {
    const own = this.#retired.filter((retired) => retired.owner === owner)
    this.#keep(this.#retired.filter((retired) => retired.owner !== owner))
    for (const { fd } of own) owner.close(fd)
  }

  scheduleDrain(): void {
    if (this.#drainScheduled) return
    this.#drainScheduled = true
    setImmediate(() => {
      this.#drainScheduled = false
      this.#drain()
    })
  }

  #drain(): void {
    const kept: Retired[] = []
    let [at, parts, running, rested] = [0, 0, 0, 0]
    let last = -1
    for (; at < this.#retired.length; at++) {
      const retired = this.#retired[at] as Retired
      const { epoch, born, fd, owner } = retired
      for (; parts < this.#earlier.length && (this.#earlier[parts] as Earlier).until <= epoch; parts++)
        running += (this.#earlier[parts] as Earlier).running
      // Then those after it cannot be closed either.
      if (running > 0 && this.#resting.length === 0) break
      // Those that began to rest before it was opened are among the running ones, because they began before it was retired.
      if (running > 0 && born !== last) [rested, last] = [this.#restedBefore(born), born]
      if (running === 0 || running === rested) owner.close(fd)
      else kept.push(retired)
    }
    if (kept.length < at) this.#keep([...kept, ...this.#retired.slice(at)])
  }

  /** How many of the calls that rest began to before epoch `born`. */
  #restedBefore(born: number): number {
    let count = 0
    while (count < this.#resting.length && (this.#resting[count] as number) < born) count++
    return count
  }

  #keep(retired: Retired[]): void {
    this.#retired = retired
    this.hasRetired = retired.length > 0
  }
}
