import { LRUCache } from 'lru-cache'

const ADDRESSES = 4096

/** Limits how often each address asks: `most` times at once, and then one time every `refillMs`. */
export class RequestRate {
  readonly #most: number
  readonly #refillMs: number
  readonly #now: () => number
  readonly #budgets = new LRUCache<string, { left: number; atMs: number }>({ max: ADDRESSES })

  /** `now`: a monotonic clock, in ms. */
  constructor(most: number, refillMs: number, now: () => number) {
    this.#most = most
    this.#refillMs = refillMs
    this.#now = now
  }

  /** Takes one request from the budget of an address; false if it is used up. */
  take(address: string): boolean {
    const nowMs = this.#now()
    const budget = this.#budgets.get(address) ?? { left: this.#most, atMs: nowMs }
    budget.left = Math.min(this.#most, budget.left + (nowMs - budget.atMs) / this.#refillMs)
    budget.atMs = nowMs
    this.#budgets.set(address, budget)
    if (budget.left < 1) return false
    budget.left--
    return true
  }
}
