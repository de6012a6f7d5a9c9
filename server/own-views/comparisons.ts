/** Comparisons of one user, and of all users together, that may run at a time. Each opens a stack. */
const MOST_OF_USER = 1
const MOST = 4

/** Limits how many comparisons of views run for users at a time. */
export class Comparisons {
  readonly #running = new Map<string, number>()
  #all = 0

  /** Whether `user` may begin one now; then `end` must follow. */
  begin(user: string): boolean {
    const own = this.#running.get(user) ?? 0
    if (own >= MOST_OF_USER || this.#all >= MOST) return false
    this.#running.set(user, own + 1)
    this.#all++
    return true
  }

  end(user: string): void {
    const own = (this.#running.get(user) ?? 1) - 1
    if (own === 0) this.#running.delete(user)
    else this.#running.set(user, own)
    this.#all--
  }
}
