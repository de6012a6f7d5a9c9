import { LRUCache } from 'lru-cache'

/** How many views one address may make at once, and then per minute. */
const MOST = 100
const REFILL_MS = 60_000 / MOST
/** The number of addresses whose use is known. */
const ADDRESSES = 4096

interface Budget {
  left: number
  atMs: number
}

/** Limits how many views the requests of one address make. */
export class CreationRate {
  readonly #now: () => number
  readonly #budgets = new LRUCache<string, Budget>({ max: ADDRESSES })

  /** `now`: a monotonic clock, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Takes one creation from the budget of an address; false if it is used up. */
  take(address: string): boolean {
    const nowMs = this.#now()
    const budget = this.#budgets.get(address) ?? { left: MOST, atMs: nowMs }
    budget.left = Math.min(MOST, budget.left + (nowMs - budget.atMs) / REFILL_MS)
    budget.atMs = nowMs
    this.#budgets.set(address, budget)
    if (budget.left < 1) return false
    budget.left--
    return true
  }
}
