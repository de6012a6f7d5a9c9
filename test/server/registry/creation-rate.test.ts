import t from 'tap'
import { CreationRate } from '../../../server/registry/creation-rate.ts'

t.test('an address makes a hundred views at once, then a hundred a minute; others have their own budget', async (t) => {
  let nowMs = 0
  const rate = new CreationRate(() => nowMs)
  const taken = (address: string) => {
    let count = 0
    while (rate.take(address)) count++
    return count
  }
  t.equal(taken('192.0.2.1'), 100)
  t.equal(taken('192.0.2.2'), 100)
  nowMs = 599
  t.equal(taken('192.0.2.1'), 0)
  nowMs = 600
  t.equal(taken('192.0.2.1'), 1)
  nowMs = 10 * 60_000
  t.equal(taken('192.0.2.1'), 100, 'and never more')
})
