/** Who may still reclaim: clients of the lock manager, or of version 4. */
export type Reclaimers = 'nlm' | 'nfs4'

/**
 * The time after a restart in which clients may only reclaim what they held before. It ends at once if nobody held anything, and lasts as long as one of the protocols needs
 * it, because they share their locks.
 */
export class GracePeriod {
  readonly #timers = new Map<Reclaimers, NodeJS.Timeout>()

  /** Starts the grace period for `ms`. `over` is called if it lasts that long. */
  begin(ms: number, of: Reclaimers, over: () => void = () => undefined): void {
    this.end(of)
    const timer = setTimeout(() => {
      this.end(of)
      over()
    }, ms)
    this.#timers.set(of, timer.unref())
  }

  get active(): boolean {
    return this.#timers.size > 0
  }

  /** Whether these clients may reclaim. */
  isFor(of: Reclaimers): boolean {
    return this.#timers.has(of)
  }

  end(of: Reclaimers): void {
    clearTimeout(this.#timers.get(of))
    this.#timers.delete(of)
  }
}
