import { LRUCache } from 'lru-cache'
import { networkOf } from '../network-of.ts'

/** How many wrong secrets may come at once, and then per minute: from one address, and for one account from all addresses that were wrong before. */
const FROM_ADDRESS = { most: 20, perMinute: 30 }
const ON_ACCOUNT = { most: 20, perMinute: 30 }
/** What is remembered at most: addresses, accounts, and pairs of them. */
const REMEMBERED = 16_384
/** How long an address is remembered as wrong about an account. */
const WRONG_MS = 3_600_000

interface Budget {
  left: number
  atMs: number
}

/**
 * Limits how often secrets are tried. Each try takes from the budget of its address and, if this address was wrong about this account before, from that
 * of the account; a right secret gives it back. So nobody can lock out an account: a first try from another address is always made.
 */
export class AttemptLimits {
  readonly #now: () => number
  readonly #addresses = new LRUCache<string, Budget>({ max: REMEMBERED })
  readonly #accounts = new LRUCache<string, Budget>({ max: REMEMBERED })
  /** When an address was wrong about an account. */
  readonly #wrong = new LRUCache<string, number>({ max: REMEMBERED })

  /** `now`: a monotonic clock, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Begins a try. Returns for how many seconds the client should wait before it tries again, or undefined if the try may be made. */
  begin(address: string, account: string): number | undefined {
    const from = networkOf(address)
    if (!this.#take(this.#addresses, from, FROM_ADDRESS)) return 60 / FROM_ADDRESS.perMinute
    if (!this.#wasWrong(from, account) || this.#take(this.#accounts, account, ON_ACCOUNT)) return undefined
    this.#giveBack(this.#addresses, from, FROM_ADDRESS)
    return 60 / ON_ACCOUNT.perMinute
  }

  /** Ends a try that `begin` allowed. `unsaid`: no source could tell. */
  end(address: string, account: string, result: 'right' | 'wrong' | 'unsaid'): void {
    const from = networkOf(address)
    if (result === 'wrong') {
      this.#wrong.set(pairOf(from, account), this.#now())
      return
    }
    this.#giveBack(this.#addresses, from, FROM_ADDRESS)
    if (!this.#wasWrong(from, account)) return
    this.#giveBack(this.#accounts, account, ON_ACCOUNT)
    if (result === 'right') this.#wrong.delete(pairOf(from, account))
  }

  #wasWrong(from: string, account: string): boolean {
    const atMs = this.#wrong.get(pairOf(from, account))
    return atMs !== undefined && this.#now() - atMs < WRONG_MS
  }

  #take(budgets: LRUCache<string, Budget>, key: string, { most, perMinute }: typeof FROM_ADDRESS): boolean {
    const nowMs = this.#now()
    const budget = budgets.get(key) ?? { left: most, atMs: nowMs }
    budget.left = Math.min(most, budget.left + ((nowMs - budget.atMs) * perMinute) / 60_000)
    budget.atMs = nowMs
    budgets.set(key, budget)
    if (budget.left < 1) return false
    budget.left--
    return true
  }

  #giveBack(budgets: LRUCache<string, Budget>, key: string, { most }: typeof FROM_ADDRESS): void {
    const budget = budgets.get(key)
    if (budget !== undefined) budget.left = Math.min(most, budget.left + 1)
  }
}

function pairOf(from: string, account: string): string {
  return `${from} ${account}`
}
