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
  #drainScheduled = false

  constructor(clock: EpochClock = { now: 0 }) {
    this.clock = clock
  }

  /** The end of a call that began in `epoch`, which is not after `lastRetired`. */
  leaveEarlier(epoch: number): void {
    const part = this.#earlier.find(({ until }) => epoch <= until) as Earlier
    if (--part.running === 0) this.#earlier = this.#earlier.filter((each) => each !== part)
  }

  /** Makes `owner` close `fd` once no running call can use it. */
  retire(fd: number, owner: DescriptorOwner): void {
    const epoch = this.clock.now++
    this.#retired.push({ epoch, fd, owner })
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
    const oldest = this.#earlier[0]?.until ?? Number.POSITIVE_INFINITY
    let done = 0
    while (done < this.#retired.length && (this.#retired[done] as Retired).epoch < oldest) {
      const { fd, owner } = this.#retired[done] as Retired
      owner.close(fd)
      done++
    }
    if (done > 0) this.#keep(this.#retired.slice(done))
  }

  #keep(retired: Retired[]): void {
    this.#retired = retired
    this.hasRetired = retired.length > 0
  }
}
