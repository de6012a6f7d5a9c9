import t from 'tap'
import { BusyPoll } from '../../../../protocols/nfs/rpc/busy-poll.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('requests that follow each other quickly keep the loop awake, and a pause lets it sleep', async (t) => {
  let nowMs = 100
  const busyPoll = new BusyPoll(() => nowMs)
  for (let i = 0; i < 17; i++) {
    t.notOk(busyPoll.awake, `${i}`)
    busyPoll.answered()
    nowMs += 0.05
  }
  t.ok(busyPoll.awake)
  await turn()
  await turn()
  t.ok(busyPoll.awake, 'as long as the next request may come')
  nowMs += 0.06
  await turn()
  await turn()
  t.notOk(busyPoll.awake)
})

t.test('requests that come now and then cost nothing', async (t) => {
  let nowMs = 0
  const busyPoll = new BusyPoll(() => nowMs)
  for (let i = 0; i < 100; i++) {
    // Never as many in a row as it takes.
    nowMs += i % 16 === 0 ? 1 : 0.01
    busyPoll.answered()
    t.notOk(busyPoll.awake)
  }
})

t.test('a clock that stands still keeps nobody awake for ever', async (t) => {
  const busyPoll = new BusyPoll(() => 5)
  for (let i = 0; i < 20; i++) busyPoll.answered()
  t.ok(busyPoll.awake)
  for (let i = 0; i < 300; i++) await turn()
  t.notOk(busyPoll.awake)
})
