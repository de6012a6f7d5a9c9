/** The upper bounds of the buckets of a histogram, in ms. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  ...[0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50],
  ...[100, 250, 500, 1000, 2500, 5000, 10_000, 60_000],
]

const BUCKETS = LATENCY_BOUNDS_MS.length

/** How long something took, each time, as a histogram. Adding to it allocates nothing. */
export class Latencies {
  /** How often it took at most so long as the bound of this index and longer than the one before; at the end what took longer than any bound. */
  readonly counts = new Float64Array(BUCKETS + 1)
  /** All times together: one number in ms, in an array because a field would be a new object each time. */
  readonly #sum = new Float64Array(1)

  get sumMs(): number {
    return this.#sum[0] as number
  }

  /** Adds one time in ms. Short ones are found first. */
  add(ms: number): void {
    let at = 0
    while (at < BUCKETS && ms > (LATENCY_BOUNDS_MS[at] as number)) at++
    this.counts[at] = (this.counts[at] as number) + 1
    this.#sum[0] = (this.#sum[0] as number) + ms
  }
}
