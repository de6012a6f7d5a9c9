import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { LoopBudget } from '../../../overlay-core/base/loop-turn.ts'
import { sortInTurns } from '../../../overlay-core/base/sort-in-turns.ts'

t.test('all long work together gets 2 ms of a turn, and one resting task resumes per turn', async (t) => {
  let nowMs = 0
  const budget = new LoopBudget(() => nowMs)
  const asks = () => Array.from({ length: 8 }, () => budget.spent).some((spent) => spent)
  t.notOk(asks(), 'the first work of a turn begins')
  nowMs = 1.9
  t.notOk(asks())
  nowMs = 2
  t.ok(asks(), 'its share is used up')
  t.ok(asks(), 'for every other work too')
  const went: string[] = []
  const work = async (name: string) => {
    await budget.rest()
    went.push(name)
  }
  const all = ['a', 'b', 'c'].map(work)
  for (const expected of ['a', 'ab', 'abc']) {
    await nextTurn()
    t.equal(went.join(''), expected)
  }
  await Promise.all(all)
  await nextTurn()
  t.notOk(asks(), 'a later turn has a share of its own')
})

t.test('a hundred thousand items are sorted stably, as by toSorted, while other work gets its turns', async (t) => {
  const items = Array.from({ length: 100_000 }, (_, i) => ({ key: Math.imul(i, 0x9e3779b1) & 0xfff, i }))
  let turns = 0
  let sorted = false
  const count = (): void => {
    turns++
    if (!sorted) setImmediate(count)
  }
  setImmediate(count)
  const result = await sortInTurns(items, (a, b) => a.key - b.key)
  sorted = true
  const expected = items.toSorted((a, b) => a.key - b.key)
  t.ok(result.every((item, i) => item === expected[i]))
  t.ok(turns > 100, `${turns} turns`)
  t.same(await sortInTurns([], () => 0), [])
  t.same(await sortInTurns([3, 1, 2], (a, b) => a - b), [1, 2, 3])
})
