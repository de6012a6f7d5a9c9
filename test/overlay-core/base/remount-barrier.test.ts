import t from 'tap'
import { RemountBarrier } from '../../../overlay-core/base/remount-barrier.ts'

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

t.test('a change of the stack waits for all running calls, and admits none before it has ended', async (t) => {
  const barrier = new RemountBarrier()
  const log: string[] = []
  const [one, two] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const calls = [one, two].map(({ promise }) => barrier.enter(() => promise))
  const change = barrier.alone(() => log.push('change'))
  t.equal(barrier.open, false)
  const late = barrier.enter(() => log.push('late'))
  one.resolve()
  await settled()
  t.same(log, [], 'one call still runs')
  two.resolve()
  await Promise.all([...calls, change, late])
  t.same(log, ['change', 'late'])
  t.equal(barrier.open, true)
})

t.test('without running calls a change runs at once, and a failed call counts as ended', async (t) => {
  const barrier = new RemountBarrier()
  t.equal(await barrier.alone(() => 7), 7)
  await t.rejects(Promise.resolve(barrier.enter(() => Promise.reject(new Error('failed')))))
  t.equal(await barrier.alone(() => 8), 8)
  t.equal(
    barrier.enter(() => 9),
    9,
    'an answer that is known stays one',
  )
})

t.test('a failed change opens the barrier again', async (t) => {
  const barrier = new RemountBarrier()
  await t.rejects(
    barrier.alone(() => {
      throw new Error('failed')
    }),
  )
  t.equal(barrier.open, true)
  t.equal(await barrier.enter(() => 1), 1)
})
