/**
 * The time after a restart in which clients get back the locks that they had, and nobody else gets any. Over at once when nobody had
 * locks.
 */
export class GracePeriod {
  #active = false
  #timer: NodeJS.Timeout | undefined

  /** Begins, for `ms`. */
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
