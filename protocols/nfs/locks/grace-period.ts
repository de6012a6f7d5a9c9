/**
 * The time after a restart in which clients may only reclaim their earlier locks. It ends at once if nobody had
 * locks.
 */
export class GracePeriod {
  #active = false
  #timer: NodeJS.Timeout | undefined

  /** Starts the grace period for `ms`. */
  begin(ms: number): void {
    this.#active = true
    this.#timer = setTimeout(() => this.end(), ms).unref()
  }

  get active(): boolean {
    return this.#active
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#active = false
  }
}
