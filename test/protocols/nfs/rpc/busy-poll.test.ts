import t from 'tap'
import { BusyPoll } from '../../../../protocols/nfs/rpc/busy-poll.ts'

/** Enough turns of the event loop for all else that is scheduled, and far fewer than the loop stays awake without a request. */
const FEW_TURNS = 20
/** More turns than the loop ever stays awake without a request. */
const MANY_TURNS = 10_000

/** Whether the event loop, after a few turns, would still go on at once instead of waiting for events. */
async function staysAwake(): Promise<boolean> {
  for (let turn = 0; turn < FEW_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve))
  return process.getActiveResourcesInfo().includes('Immediate')
}

t.test('requests that follow each other quickly keep the loop awake, and a pause lets it sleep', async (t) => {
  let nowMs = 100
  const busyPoll = new BusyPoll(() => nowMs)
  busyPoll.answered()
  t.notOk(await staysAwake(), 'one request')
  for (let i = 0; i < 100; i++) {
    nowMs += 0.05
    busyPoll.answered()
  }
  t.ok(await staysAwake(), 'as long as the next request may come')
  t.ok(await staysAwake())
  nowMs += 0.2
  t.notOk(await staysAwake())
})

t.test('requests that come now and then cost nothing', async (t) => {
  let nowMs = 0
  const busyPoll = new BusyPoll(() => nowMs)
  for (let i = 0; i < 100; i++) {
    nowMs += i % 8 === 0 ? 1 : 0.01
    busyPoll.answered()
    t.notOk(await staysAwake())
  }
})

t.test('a clock that stands still keeps nobody awake for ever', async (t) => {
  const busyPoll = new BusyPoll(() => 5)
  for (let i = 0; i < 100; i++) busyPoll.answered()
  t.ok(await staysAwake())
  let turns = 0
  while (turns < MANY_TURNS && (await staysAwake())) turns += FEW_TURNS
  t.ok(turns < MANY_TURNS, `asleep after ${turns} turns`)
})
