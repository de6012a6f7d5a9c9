import t from 'tap'
import { type BudgetedCache, CacheBudget, type CacheShare } from '../../../overlay-core/base/cache-budget.ts'

/** A cache of numbers, oldest first, of which some are in use. */
class Numbers implements BudgetedCache {
  readonly share: CacheShare
  readonly entries: number[] = []
  inUse = 0

  constructor(budget: CacheBudget) {
    this.share = budget.join(this)
  }

  add(...numbers: number[]): void {
    this.entries.push(...numbers)
    this.share.grow(numbers.length)
    this.share.use()
  }

  giveUp(count: number): void {
    const gone = this.entries.splice(0, Math.min(count, this.entries.length - this.inUse))
    this.share.shrink(gone.length)
  }
}

t.test('the cache used longest ago gives up entries first, and no more than needed', async (t) => {
  const budget = new CacheBudget(() => 6)
  const [a, b, c] = [new Numbers(budget), new Numbers(budget), new Numbers(budget)]
  a.add(1, 2)
  b.add(3, 4)
  c.add(5, 6)
  a.share.use()
  c.add(7)
  t.same([a.entries, b.entries, c.entries], [[1, 2], [4], [5, 6, 7]])
  c.add(8, 9)
  t.same([a.entries, b.entries, c.entries], [[2], [], [5, 6, 7, 8, 9]], 'the next one when the first has nothing left')
  t.equal(budget.used, 6)
})

t.test('a cache alone over the limit gives up its own oldest entries', async (t) => {
  const budget = new CacheBudget(() => 3)
  const only = new Numbers(budget)
  only.add(1, 2, 3, 4, 5)
  t.same(only.entries, [3, 4, 5])
})

t.test('entries in use stay, and others are found behind them', async (t) => {
  const budget = new CacheBudget(() => 4)
  const busy = new Numbers(budget)
  const idle = new Numbers(budget)
  const last = new Numbers(budget)
  busy.add(1, 2)
  busy.inUse = 2
  idle.add(3, 4)
  last.add(5)
  t.same([busy.entries, idle.entries, last.entries], [[1, 2], [4], [5]])
  idle.inUse = 1
  last.inUse = 2
  last.add(6)
  t.equal(budget.used, 5, 'over the limit while everything is in use')
})

t.test('a cleared cache counts no more, and can be filled again', async (t) => {
  const budget = new CacheBudget(() => 2)
  const one = new Numbers(budget)
  const other = new Numbers(budget)
  one.add(1, 2)
  one.entries.length = 0
  one.share.clear()
  t.equal(budget.used, 0)
  other.add(3)
  one.add(4)
  t.same([one.entries, other.entries], [[4], [3]])
})

t.test('the limit may change', async (t) => {
  let limit = 4
  const budget = new CacheBudget(() => limit)
  const cache = new Numbers(budget)
  cache.add(1, 2, 3, 4)
  limit = 2
  cache.add(5)
  t.same(cache.entries, [4, 5])
})
