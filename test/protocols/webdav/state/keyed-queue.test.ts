import t from 'tap'
import { FairTurns } from '../../../../overlay-core/index.ts'
import { BufferPool } from '../../../../protocols/webdav/state/buffer-pool.ts'
import { KeyedQueue } from '../../../../protocols/webdav/state/keyed-queue.ts'

t.test('tasks of one key run one after the other, whatever becomes of them', async (t) => {
  const queue = new KeyedQueue()
  const events: string[] = []
  const task = (name: string, fail = false) =>
    queue.run('key', async () => {
      events.push(`${name} starts`)
      await Promise.resolve()
      events.push(`${name} ends`)
      if (fail) throw new Error(name)
      return name
    })
  const results = await Promise.allSettled([task('a'), task('b', true), task('c')])
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  t.same(events, ['a starts', 'a ends', 'b starts', 'b ends', 'c starts', 'c ends'])
  t.equal(await task('d'), 'd')
})

t.test('tasks of different keys run side by side', async (t) => {
  const queue = new KeyedQueue()
  let release = (): void => undefined
  const held = queue.run('a', () => new Promise<void>((resolve) => (release = resolve)))
  t.equal(await queue.run('b', async () => 'done'), 'done')
  release()
  await held
})

t.test('large buffers are lent to few, small ones to the rest', async (t) => {
  const pool = new BufferPool(2)
  const large = [pool.take(), pool.take()] as const
  t.same(
    large.map(({ length }) => length),
    [512 * 1024, 512 * 1024],
  )
  const small = pool.take()
  t.equal(small.length, 64 * 1024)
  pool.release(small)
  pool.release(large[0])
  t.equal(pool.take(), large[0], 'what came back is lent again')
  pool.forget(large[1])
  t.not(pool.take(), large[1], 'what a socket may still read is not')
})

t.test('buffers of short bodies are reused, the latest first', async (t) => {
  const pool = new BufferPool()
  const [first, second] = [pool.takeSmall(), pool.takeSmall()]
  t.not(first, second)
  pool.releaseSmall(first)
  pool.releaseSmall(second)
  t.equal(pool.takeSmall(), second)
  t.equal(pool.takeSmall(), first)
})

t.test('clients have turns one after the other, however many each asks for', async (t) => {
  const turns = new FairTurns(1)
  const order: string[] = []
  let release = (): void => undefined
  const held = turns.run('x', () => new Promise<void>((resolve) => (release = resolve)))
  const all = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map((name) =>
    turns.run(name[0] as string, async () => {
      order.push(name)
      if (name === 'a2') throw new Error('no matter')
    }),
  )
  const ended = Promise.allSettled(all)
  t.same(order, [])
  release()
  await held
  await ended
  t.same(order, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
})
