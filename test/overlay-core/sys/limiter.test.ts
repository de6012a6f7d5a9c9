import t from 'tap'
import { Limiter } from '../../../overlay-core/sys/limiter.ts'

t.test('no more than its places run, and the others start in the order in which they came', async (t) => {
  const limiter = new Limiter(2)
  const started: number[] = []
  for (let i = 0; i < 5; i++) limiter.enter({ next: undefined, start: () => started.push(i) })
  t.same(started, [0, 1])
  t.match(limiter, { inFlight: 2, queued: 3 })
  limiter.leave()
  t.same(started, [0, 1, 2])
  limiter.leave()
  limiter.leave()
  t.same(started, [0, 1, 2, 3, 4])
  t.match(limiter, { inFlight: 2, queued: 0 })
  limiter.leave()
  limiter.leave()
  t.match(limiter, { inFlight: 0, queued: 0 })
  limiter.enter({ next: undefined, start: () => started.push(5) })
  t.equal(started.at(-1), 5, 'it goes on after it was empty')
})
