import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { asCopy, copyAwaited, newLock, setLockObserver } from '../../../overlay-core/base/lock.ts'
import { OvlInode } from '../../../overlay-core/objects/dentry.ts'
import { LockOrder } from '../../stress/lock-order.ts'

function inode(key: number, dir?: OvlInode): OvlInode {
  const identity = { key, generation: 1, type: FileType.directory, fileIdHi: 0, fileIdLo: key }
  const made = new OvlInode(identity, undefined, [])
  if (dir) made.addAlias(dir, `n${key}`)
  return made
}

/** Runs `work` with locks that are watched. */
async function watched(work: (order: LockOrder) => Promise<void>): Promise<void> {
  const order = new LockOrder()
  setLockObserver(order)
  try {
    await order.observe({ what: 'test', locked: () => undefined }, () => work(order))
  } finally {
    setLockObserver(undefined)
  }
}

t.test('locks taken in the documented order are allowed', async (t) => {
  await watched(async (order) => {
    const root = inode(1)
    const [dir, file] = [inode(3, root), inode(2, root)]
    const shape = newLock('shape')
    await shape.exclusive(() =>
      root.dirLock.exclusive(() =>
        dir.dirLock.changing('x', () =>
          asCopy(dir, async () => {
            copyAwaited(root)
            await file.nodeLock.exclusive(() => dir.nodeLock.exclusive(() => undefined))
          }),
        ),
      ),
    )
    t.same(order.violations, [])
    t.same(order.report(), [], 'nothing is held afterwards')
  })
})

const wrong: Record<string, (root: OvlInode, dir: OvlInode, other: OvlInode) => unknown> = {
  'a descendant before its ancestor': (root, dir) => dir.dirLock.shared(() => root.dirLock.shared(() => 0)),
  'unrelated directories by descending key': (_root, dir, other) =>
    other.dirLock.exclusive(() => dir.dirLock.exclusive(() => 0)),
  'a directory under an object': (root, dir) => dir.nodeLock.shared(() => root.dirLock.shared(() => 0)),
  'two objects by descending key': (_root, dir, other) =>
    other.nodeLock.exclusive(() => dir.nodeLock.exclusive(() => 0)),
  'the same lock twice': (root) => root.dirLock.shared(() => root.dirLock.shared(() => 0)),
  'a copy-up awaited under an object': (root, dir) => dir.nodeLock.exclusive(async () => copyAwaited(root)),
  'a copy-up that waits for one below it': (root, dir) => asCopy(root, async () => copyAwaited(dir)),
  'the shape of the tree last': (root) => root.dirLock.shared(() => newLock('shape').exclusive(() => 0)),
}
for (const [name, take] of Object.entries(wrong)) {
  t.test(`refused by the observer: ${name}`, async (t) => {
    await watched(async (order) => {
      const root = inode(1)
      await t.rejects(async () => await take(root, inode(2, root), inode(3, root)), {
        message: /wants .* while it holds/,
      })
      t.equal(order.violations.length, 1)
    })
  })
}

t.test('a descendant of a locked directory may be locked beside an unrelated one with a larger key', async (t) => {
  await watched(async (order) => {
    const root = inode(1)
    const [from, to] = [inode(5, root), inode(9, root)]
    const replaced = inode(2, to)
    await from.dirLock.exclusive(() => to.dirLock.exclusive(() => replaced.dirLock.exclusive(() => 0)))
    t.same(order.violations, [])
  })
})

t.test('one of two directories may be removed during the wait for the other', async (t) => {
  await watched(async (order) => {
    const root = inode(1)
    const outer = inode(9, root)
    const inner = inode(2, outer)
    await outer.dirLock.exclusive(async () => {
      inner.aliases = []
      inner.unlinked = true
      await inner.dirLock.exclusive(() => 0)
    })
    t.same(order.violations, [])
  })
})

/** Lets everything go on that can go on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A piece of work under a lock that ends when it is told to; `log` says when it has begun. */
function worker(log: string[], name: string): { readonly work: () => Promise<void>; readonly end: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const work = () => {
    log.push(name)
    return promise
  }
  return { work, end: resolve }
}

type Take = (lock: ReturnType<typeof newLock>, work: () => Promise<void>) => unknown
const takes: Readonly<Record<string, Take>> = {
  reader: (lock, work) => lock.shared(work),
  writer: (lock, work) => lock.exclusive(work),
  'changer of a': (lock, work) => lock.changing('a', work),
  'changer of b': (lock, work) => lock.changing('b', work),
}
const together = new Set(['reader+reader', 'changer of a+changer of b', 'changer of b+changer of a'])

for (const first of Object.keys(takes)) {
  for (const second of Object.keys(takes)) {
    const share = together.has(`${first}+${second}`)
    t.test(`a ${second} ${share ? 'goes on beside' : 'waits for'} a ${first}`, async (t) => {
      const lock = newLock('directory')
      const log: string[] = []
      const [one, two] = [worker(log, 'one'), worker(log, 'two')]
      const running = [takes[first] as Take, takes[second] as Take].map((take, i) => take(lock, [one, two][i]!.work))
      await settled()
      t.same(log, share ? ['one', 'two'] : ['one'])
      t.equal(lock.busy, true)
      one.end()
      await settled()
      t.same(log, ['one', 'two'], 'the second runs as soon as the first has ended')
      two.end()
      await Promise.all(running)
      t.equal(lock.busy, false)
    })
  }
}

t.test('callers are served in order: readers do not overtake a waiting writer', async (t) => {
  const lock = newLock('directory')
  const log: string[] = []
  const [one, two, three] = [worker(log, 'reader'), worker(log, 'writer'), worker(log, 'late reader')]
  const running = [lock.shared(one.work), lock.exclusive(two.work), lock.shared(three.work)]
  await settled()
  t.same(log, ['reader'])
  one.end()
  await settled()
  t.same(log, ['reader', 'writer'])
  two.end()
  await settled()
  t.same(log, ['reader', 'writer', 'late reader'])
  three.end()
  await Promise.all(running)
})

t.test('failing work releases the lock', async (t) => {
  const lock = newLock('node')
  for (const take of Object.values(takes)) {
    await t.rejects(
      async () =>
        await take(lock, async () => {
          throw new Error('failed')
        }),
      { message: 'failed' },
    )
    t.equal(lock.busy, false)
  }
})

t.test('a change can tell whether another one overlapped it', async (t) => {
  const lock = newLock('directory')
  t.equal(await lock.changing('a', (alone) => alone()), true)
  const { promise, resolve } = Promise.withResolvers<void>()
  const first = lock.changing('a', async (alone) => {
    const before = alone()
    await promise
    return [before, alone()]
  })
  await settled()
  t.equal(await lock.changing('b', (alone) => alone()), false)
  resolve()
  t.same(await first, [true, false])
})
