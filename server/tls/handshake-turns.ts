/** What an address may use of one processor for its handshakes: a part of the time, and so many ms at once. */
const PART = 1 / 4
const BURST_MS = 500

interface Waiting<Item> {
  readonly items: Item[]
  /** How much of its burst the address has used, at `sinceMs`. */
  usedMs: number
  sinceMs: number
}

/**
 * Chooses whose handshake is computed next: addresses take turns, and one that has used more than its part of the time waits. A client that begins handshakes and never goes on has no cost of
 * its own, so it could otherwise use a whole processor.
 */
export class HandshakeTurns<Item> {
  readonly #now: () => number
  /** In the order of their turns. */
  readonly #addresses = new Map<string, Waiting<Item>>()

  /** @param now a monotonic clock, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  add(address: string, item: Item): void {
    const known = this.#addresses.get(address)
    if (known !== undefined) return void known.items.push(item)
    this.#addresses.set(address, { items: [item], usedMs: 0, sinceMs: this.#now() })
  }

  /** The next one, and its address; or for how many ms all must wait; undefined if there is none. */
  next(): { readonly address: string; readonly item: Item } | { readonly waitMs: number } | undefined {
    const nowMs = this.#now()
    let waitMs = Number.POSITIVE_INFINITY
    for (const [address, waiting] of this.#addresses) {
      const usedMs = usedBy(waiting, nowMs)
      if (waiting.items.length === 0) {
        if (usedMs === 0) this.#addresses.delete(address)
        continue
      }
      const overMs = usedMs - BURST_MS
      if (overMs > 0) {
        waitMs = Math.min(waitMs, overMs / PART)
        continue
      }
      const item = waiting.items.shift() as Item
      // Its next one comes after those of all others.
      this.#addresses.delete(address)
      this.#addresses.set(address, waiting)
      return { address, item }
    }
    return waitMs === Number.POSITIVE_INFINITY ? undefined : { waitMs }
  }

  /** Notes how long a handshake of an address took, or something else that it had computed. */
  used(address: string, ms: number): void {
    const nowMs = this.#now()
    const waiting = this.#addresses.get(address) ?? { items: [], usedMs: 0, sinceMs: nowMs }
    this.#addresses.set(address, waiting)
    waiting.usedMs = usedBy(waiting, nowMs) + ms
    waiting.sinceMs = nowMs
  }

  /** All that wait. */
  *all(): Iterable<Item> {
    for (const { items } of this.#addresses.values()) yield* items
  }
}

function usedBy({ usedMs, sinceMs }: Pick<Waiting<unknown>, 'usedMs' | 'sinceMs'>, nowMs: number): number {
  return Math.max(0, usedMs - (nowMs - sinceMs) * PART)
}
