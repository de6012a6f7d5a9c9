import t from 'tap'
import { RwLock } from '../../overlay-core/lock.ts'

/** Work that ends when it is told to, and what has begun so far. */
function stage() {
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const work = (name: string) => () => {
    begun.push(name)
    return new Promise<void>((resolve) => ends.set(name, resolve))
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const end = async (name: string) => {
    ends.get(name)?.()
    await settle()
  }
  return { begun, work, settle, end }
}

t.test('readers share, changes of different names share, and neither shares with the other', async (t) => {
  const lock = new RwLock()
  const { begun, work, settle, end } = stage()
  const all = [
    lock.shared(work('reader 1')),
    lock.shared(work('reader 2')),
    lock.changing('a', work('change a')),
    lock.changing('b', work('change b')),
    lock.shared(work('reader 3')),
  ]
  await settle()
  t.same(begun, ['reader 1', 'reader 2'])
  await end('reader 1')
  t.same(begun.slice(2), [], 'one reader is left')
  await end('reader 2')
  t.same(begun.slice(2), ['change a', 'change b'])
  await end('change b')
  await end('change a')
  t.same(begun.slice(4), ['reader 3'])
  await end('reader 3')
  await Promise.all(all)
  t.notOk(lock.busy)
})

t.test('changes of one name come one after the other', async (t) => {
  const lock = new RwLock()
  const { begun, work, settle, end } = stage()
  const all = [
    lock.changing('a', work('first')),
    lock.changing('a', work('second')),
    lock.changing('a', work('third')),
    lock.changing('b', work('other')),
  ]
  await settle()
  t.same(begun, ['first'])
  await end('first')
  t.same(begun, ['first', 'second'])
  await end('second')
  t.same(begun, ['first', 'second', 'third'])
  await end('third')
  t.same(begun, ['first', 'second', 'third', 'other'])
  await end('other')
  await Promise.all(all)
  t.notOk(lock.busy)
})

t.test('a change knows whether another one has overlapped', async (t) => {
  const lock = new RwLock()
  const { settle, work, end } = stage()
  t.ok(await lock.changing('a', (alone) => alone()))
  const answers: boolean[] = []
  const watched = (name: string) => async (alone: () => boolean) => {
    await work(name)()
    answers.push(alone())
  }
  const all = [lock.changing('a', watched('a')), lock.changing('b', watched('b'))]
  await settle()
  await end('a')
  await end('b')
  t.same(answers, [false, false])
  const later = lock.changing('c', watched('c'))
  await settle()
  await end('c')
  await Promise.all([...all, later])
  t.same(answers, [false, false, true])
})

t.test('a change that fails lets go of its name', async (t) => {
  const lock = new RwLock()
  await t.rejects(lock.changing('a', () => Promise.reject(new Error('no room'))))
  t.equal(await lock.changing('a', () => 'done'), 'done')
  t.notOk(lock.busy)
})
