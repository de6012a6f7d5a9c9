import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { CacheBudget } from '../../../overlay-core/base/cache-budget.ts'
import { type Inode, mount, parseOptions } from '../../../overlay-core/index.ts'
import { DentryCache } from '../../../overlay-core/objects/dcache.ts'
import { OvlInode } from '../../../overlay-core/objects/dentry.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const PAIRS = 100

/** Processor time of the main thread in µs for making and removing files in the only directory that is cached. */
async function costOfPairs(t: Test, dentryLimit: number): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-dcache-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  for (const part of ['l/d', 'u', 'w']) mkdirSync(join(dir, part), { recursive: true })
  const overlay = await mount(parseOptions(`lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`), { dentryLimit })
  try {
    const at = (await overlay.lookup(ROOT, overlay.root, 'd')) as Inode
    const pair = async () => {
      await overlay.create(ROOT, at, 'f', { mode: 0o644 })
      await overlay.unlink(ROOT, at, 'f')
    }
    await pair()
    const before = process.threadCpuUsage()
    for (let i = 0; i < PAIRS; i++) await pair()
    const { user, system } = process.threadCpuUsage(before)
    return user + system
  } finally {
    await overlay.unmount()
  }
}

t.test('dropping the last evictable name costs no more in a large cache than in a small one', async (t) => {
  await costOfPairs(t, 50)
  const small = await costOfPairs(t, 50)
  const large = await costOfPairs(t, 4_000_000)
  t.ok(large < small * 8, `${small} µs and ${large} µs`)
})

function inode(key: number): OvlInode {
  return new OvlInode({ key, generation: 1, type: FileType.directory, fileIdHi: 0, fileIdLo: key }, undefined, [])
}

/** A cache of `limit` names with a root. */
function cacheOf(
  limit: number,
  budget = new CacheBudget(() => Number.POSITIVE_INFINITY),
): { readonly dcache: DentryCache; readonly root: OvlInode } {
  const dcache = new DentryCache(limit, budget)
  const root = inode(1)
  dcache.addInode(root)
  return { dcache, root }
}

/** Makes `name` in `dir` known, with a new inode. */
function add(dcache: DentryCache, dir: OvlInode, name: string, key: number): OvlInode {
  const made = inode(key)
  made.addAlias(dir, name)
  dcache.addInode(made)
  dcache.set(dir, name, made)
  return made
}

t.test('a full cache drops the least recently used name, whether present or absent', async (t) => {
  const { dcache, root } = cacheOf(4)
  for (const [at, name] of ['a', 'b', 'c'].entries()) add(dcache, root, name, 10 + at)
  dcache.set(root, 'absent', undefined)
  t.equal(dcache.leafCount, 4)
  t.ok(dcache.get(root, 'a'), 'used again')
  add(dcache, root, 'new', 20)
  t.equal(dcache.leafCount, 4)
  t.same([...(root.children?.keys() ?? [])].sort(), ['a', 'absent', 'c', 'new'], 'b was used longest ago')
  t.equal(dcache.get(root, 'b'), undefined)
  t.equal(dcache.get(root, 'absent')?.inode, undefined)
})

t.test('a directory with cached names stays until the last of them is dropped', async (t) => {
  const { dcache, root } = cacheOf(2)
  const dir = add(dcache, root, 'dir', 10)
  add(dcache, dir, 'inner', 11)
  t.equal(dcache.leafCount, 1, 'the directory is no leaf')
  for (let i = 0; i < 2; i++) add(dcache, root, `other-${i}`, 20 + i)
  t.equal(dcache.get(dir, 'inner'), undefined, 'the leaf went first')
  t.equal(root.children?.get('dir')?.inode, dir, 'the directory has become one, the newest')
  for (let i = 2; i < 4; i++) add(dcache, root, `other-${i}`, 20 + i)
  t.equal(dcache.get(root, 'dir'), undefined, 'and goes in its turn')
  t.equal(dcache.leafCount, 2)
})

t.test('an inode is found by its key as long as somebody uses it, but not after its removal', async (t) => {
  const { dcache, root } = cacheOf(2)
  const held = add(dcache, root, 'held', 10)
  for (let i = 0; i < 4; i++) add(dcache, root, `other-${i}`, 20 + i)
  t.equal(dcache.get(root, 'held'), undefined, 'its name is forgotten')
  t.equal(dcache.inode(10), held)
  dcache.removeInode(held)
  t.equal(dcache.inode(10), undefined)
})

t.test('a name that is set again refers only to the new object', async (t) => {
  const { dcache, root } = cacheOf(10)
  add(dcache, root, 'name', 10)
  const second = add(dcache, root, 'name', 11)
  t.equal(dcache.get(root, 'name')?.inode, second)
  t.equal(dcache.leafCount, 1)
  dcache.remove(root, 'name')
  t.equal(dcache.leafCount, 0)
  t.equal(root.children, undefined)
})

t.test('of caches that share a budget, the one used longest ago drops names', async (t) => {
  const budget = new CacheBudget(() => 4)
  const [old, used, growing] = [cacheOf(100, budget), cacheOf(100, budget), cacheOf(100, budget)]
  for (const { dcache, root } of [old, used]) for (const key of [2, 3]) add(dcache, root, `n${key}`, key)
  old.dcache.get(old.root, 'n2')
  used.dcache.get(used.root, 'n2')
  for (const key of [2, 3]) add(growing.dcache, growing.root, `n${key}`, key)
  t.same(
    [old, used, growing].map(({ dcache }) => dcache.leafCount),
    [0, 2, 2],
  )
  t.equal(old.root.children, undefined)
  add(growing.dcache, growing.root, 'n4', 4)
  t.notOk(used.dcache.get(used.root, 'n2'), 'then the next one, its oldest name first')
  t.ok(used.dcache.get(used.root, 'n3'))
  growing.dcache.clear()
  t.equal(budget.used, 1)
})
