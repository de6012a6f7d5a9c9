/** Tokens ordered by the time at which they expire, in a binary heap. It may contain a token more than once. */
export class ExpiryQueue {
  readonly #times: number[] = []
  readonly #tokens: string[] = []

  get length(): number {
    return this.#times.length
  }

  /** The earliest expiry, in ms; infinity if the queue is empty. */
  get firstMs(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY
  }

  clear(): void {
    this.#times.length = 0
    this.#tokens.length = 0
  }

  add(token: string, endsMs: number): void {
    let at = this.#times.length
    this.#times.push(endsMs)
    this.#tokens.push(token)
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if ((this.#times[parent] as number) <= endsMs) return
      this.#swap(at, parent)
      at = parent
    }
  }

  /** Removes and returns the token that expires first; undefined if the queue is empty. */
  take(): string | undefined {
    const last = this.#times.length - 1
    if (last < 0) return undefined
    this.#swap(0, last)
    this.#times.pop()
    const token = this.#tokens.pop()
    this.#sink()
    return token
  }

  #sink(): void {
    const times = this.#times
    for (let at = 0; ; ) {
      let child = 2 * at + 1
      if (child >= times.length) return
      if (child + 1 < times.length && (times[child + 1] as number) < (times[child] as number)) child++
      if ((times[at] as number) <= (times[child] as number)) return
      this.#swap(at, child)
      at = child
    }
  }

  #swap(a: number, b: number): void {
    const times = this.#times
    const tokens = this.#tokens
    const time = times[a] as number
    const token = tokens[a] as string
    times[a] = times[b] as number
    tokens[a] = tokens[b] as string
    times[b] = time
    tokens[b] = token
  }
}
