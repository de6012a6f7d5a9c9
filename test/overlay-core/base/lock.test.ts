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

t.test('locks taken in the written order are let through', async (t) => {
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

const wrong: Record<string, (root: OvlInode, dir: OvlInode, other: OvlInode) => Promise<unknown>> = {
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
      await t.rejects(take(root, inode(2, root), inode(3, root)), { message: /wants .* while it holds/ })
      t.equal(order.violations.length, 1)
    })
  })
}

t.test('a directory below one that is held may be taken beside an unrelated one with a larger key', async (t) => {
  await watched(async (order) => {
    const root = inode(1)
    const [from, to] = [inode(5, root), inode(9, root)]
    const replaced = inode(2, to)
    await from.dirLock.exclusive(() => to.dirLock.exclusive(() => replaced.dirLock.exclusive(() => 0)))
    t.same(order.violations, [])
  })
})

t.test('of two directories one may be removed while the other is waited for', async (t) => {
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
