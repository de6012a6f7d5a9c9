/** Closes descriptors that were taken out of use. */
export interface DescriptorOwner {
  /** Closes `fd`, which no running call can use any more. */
  close(fd: number): void
}

interface Retired {
  readonly epoch: number
  readonly fd: number
  readonly owner: DescriptorOwner
}

/**
 * Tells when a descriptor that was taken out of use can be closed: after all calls that were running then have ended, so that no call can use a number
 * that was closed and reused for another file. All overlays that use the same descriptors share one.
 */
export class CallEpochs {
  /** The present epoch; each retired descriptor begins another one. */
  epoch = 0
  /** The number of running calls that began in the present epoch; `Descriptors` counts them. */
  runningNow = 0
  /** Running calls that began in earlier epochs. */
  readonly #running = new Map<number, number>()
  /** Whether descriptors wait to be closed. */
  hasRetired = false
  #retired: Retired[] = []
  #drainScheduled = false

  /** The end of a call that began in `epoch`, which is not the present one. */
  leaveEarlier(epoch: number): void {
    const left = (this.#running.get(epoch) as number) - 1
    if (left === 0) this.#running.delete(epoch)
    else this.#running.set(epoch, left)
  }

  /** Makes `owner` close `fd` once no running call can use it. */
  retire(fd: number, owner: DescriptorOwner): void {
    this.#retired.push({ epoch: this.epoch, fd, owner })
    this.hasRetired = true
    if (this.runningNow > 0) this.#running.set(this.epoch, this.runningNow)
    this.runningNow = 0
    this.epoch++
    this.scheduleDrain()
  }

  /** Closes all retired descriptors of `owner` at once. None of the calls that can use them may be running. */
  closeAllOf(owner: DescriptorOwner): void {
    const others: Retired[] = []
    for (const retired of this.#retired) {
      if (retired.owner === owner) owner.close(retired.fd)
      else others.push(retired)
    }
    this.#retired = others
    this.hasRetired = others.length > 0
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
    let oldest = Number.POSITIVE_INFINITY
    for (const epoch of this.#running.keys()) if (epoch < oldest) oldest = epoch
    let done = 0
    while (done < this.#retired.length && (this.#retired[done] as Retired).epoch < oldest) {
      const { fd, owner } = this.#retired[done] as Retired
      owner.close(fd)
      done++
    }
    if (done > 0) this.#retired = this.#retired.slice(done)
    this.hasRetired = this.#retired.length > 0
  }
}
