import t from 'tap'
import { Vigil } from '../../../../protocols/nfs/rpc/busy-poll.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('requests that follow each other quickly keep the loop awake, and a pause lets it sleep', async (t) => {
  let nowMs = 100
  const vigil = new Vigil(() => nowMs)
  for (let i = 0; i < 17; i++) {
    t.notOk(vigil.awake, `${i}`)
    vigil.answered()
    nowMs += 0.05
  }
  t.ok(vigil.awake)
  await turn()
  await turn()
  t.ok(vigil.awake, 'as long as the next request may come')
  nowMs += 0.06
  await turn()
  await turn()
  t.notOk(vigil.awake)
})

t.test('requests that come now and then cost nothing', async (t) => {
  let nowMs = 0
  const vigil = new Vigil(() => nowMs)
  for (let i = 0; i < 100; i++) {
    // Never as many in a row as it takes.
    nowMs += i % 16 === 0 ? 1 : 0.01
    vigil.answered()
    t.notOk(vigil.awake)
  }
})

t.test('a clock that stands still keeps nobody awake for ever', async (t) => {
  const vigil = new Vigil(() => 5)
  for (let i = 0; i < 20; i++) vigil.answered()
  t.ok(vigil.awake)
  for (let i = 0; i < 300; i++) await turn()
  t.notOk(vigil.awake)
})
