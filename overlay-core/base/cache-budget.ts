import { loopBudget } from './loop-turn.ts'

/** The number of caches that are asked in vain before the one that grows may exceed the limit, because all entries are in use. */
const MOST_IN_VAIN = 8

/** The number of entries that are given up in one go if the limit becomes lower. */
const AT_ONCE = 500

/** A cache whose entries count against a budget. */
export interface BudgetedCache {
  /** Drops entries that are not in use, oldest first, until `count` are gone or none is left; calls `CacheShare.shrink` for them. */
  giveUp(count: number): void
}

/**
 * A limit on the entries of one kind in the caches of all overlays of a process. If it is exceeded, the cache used longest ago gives up entries first.
 * A cache without entries costs nothing here.
 */
export class CacheBudget {
  readonly #limit: () => number
  readonly #order = new UseOrder()
  #used = 0
  #reclaiming = false
  /** While a lower limit is being applied: the limit meanwhile. */
  #meanwhile = 0

  /** @param limit returns the present limit */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  get limit(): number {
    return Math.max(this.#limit(), this.#meanwhile)
  }

  /** Applies a limit that is lower than before, in turns of the event loop. */
  async applyLower(): Promise<void> {
    this.#meanwhile = this.#used
    while (this.#meanwhile > this.#limit()) {
      this.#meanwhile = Math.max(this.#limit(), this.#meanwhile - AT_ONCE)
      this.#reclaim(this.limit)
      if (loopBudget.spent) await loopBudget.rest()
    }
    this.#meanwhile = 0
  }

  /** The number of entries in all caches. */
  get used(): number {
    return this.#used
  }

  /** Admits a cache. */
  join(cache: BudgetedCache): CacheShare {
    return new CacheShare(cache, this.#order, this)
  }

  /** Only shares call it: the number of entries has changed by `count`. */
  changed(count: number): void {
    this.#used += count
    if (count > 0 && !this.#reclaiming) this.#reclaim(this.limit)
  }

  #reclaim(limit: number): void {
    if (this.#used <= limit) return
    this.#reclaiming = true
    try {
      for (let inVain = 0; this.#used > limit && inVain < MOST_IN_VAIN; ) {
        const { oldest } = this.#order
        if (oldest === undefined) return
        const before = this.#used
        oldest.cache.giveUp(before - limit)
        if (this.#used === before) inVain++
        // The entries that it keeps are in use.
        if (this.#used > limit) oldest.use()
      }
    } finally {
      this.#reclaiming = false
    }
  }
}

/** The part of a budget that one cache uses. */
export class CacheShare {
  readonly cache: BudgetedCache
  readonly #order: UseOrder
  readonly #budget: CacheBudget
  #size = 0
  /** Its neighbors in the order of last use; only `UseOrder` uses them. */
  older: CacheShare | undefined = undefined
  newer: CacheShare | undefined = undefined

  constructor(cache: BudgetedCache, order: UseOrder, budget: CacheBudget) {
    this.cache = cache
    this.#order = order
    this.#budget = budget
  }

  /** The number of entries in the cache. */
  get size(): number {
    return this.#size
  }

  /** The limit for all caches together. */
  get limit(): number {
    return this.#budget.limit
  }

  /** Makes it the cache used last. */
  use(): void {
    if (this.#order.newest === this || this.#size === 0) return
    this.#order.remove(this)
    this.#order.append(this)
  }

  /** Counts new entries. Entries of this and other caches may be given up before it returns. */
  grow(count: number): void {
    if (count === 0) return
    if (this.#size === 0) this.#order.append(this)
    this.#size += count
    this.#budget.changed(count)
  }

  /** Counts entries that are gone. */
  shrink(count: number): void {
    if (count === 0) return
    this.#size -= count
    if (this.#size === 0) this.#order.remove(this)
    this.#budget.changed(-count)
  }

  /** Counts all entries as gone. */
  clear(): void {
    this.shrink(this.#size)
  }
}

/** The shares with entries in the order of their last use, linked through their own fields. */
class UseOrder {
  oldest: CacheShare | undefined = undefined
  newest: CacheShare | undefined = undefined

  append(share: CacheShare): void {
    share.older = this.newest
    if (this.newest === undefined) this.oldest = share
    else this.newest.newer = share
    this.newest = share
  }

  remove(share: CacheShare): void {
    const { older, newer } = share
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    if (newer === undefined) this.newest = older
    else newer.older = older
    share.older = undefined
    share.newer = undefined
  }
}
