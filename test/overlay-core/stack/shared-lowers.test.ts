import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CacheBudget } from '../../../overlay-core/base/cache-budget.ts'
import {
  type Cred,
  type Inode,
  mount,
  type Overlay,
  openStack,
  parseOptions,
  type Stack,
} from '../../../overlay-core/index.ts'
import type { Budgets } from '../../../overlay-core/mount/budgets.ts'
import type { MountEnvironment } from '../../../overlay-core/mount/mount.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { closesDone } from '../../../overlay-core/sys/open.ts'
import { treeOf } from '../../helpers/neighbour.ts'
import { at, build, onDisk, type Tree } from '../../helpers/overlay.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const ALICE: Cred = { uid: 1000, gid: 1000, groups: [] }
const BOB: Cred = { uid: 1001, gid: 1001, groups: [] }
const READ = 4

interface Scene {
  readonly dir: string
  readonly stack: Stack
  readonly lowers: readonly string[]
  /** Mounts the view `name` on the stack. */
  open(name: string, more?: string): Promise<Overlay>
  upper(name: string): string
}

async function scene(t: Test, trees: readonly Tree[], environment: Partial<MountEnvironment> = {}): Promise<Scene> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-shared-'))
  const lowers = trees.map((tree, i) => build(join(dir, `lower${i}`), tree))
  const lowerdir = `lowerdir=${lowers.join(':')}`
  const stack = await openStack(parseOptions(lowerdir))
  const overlays: Overlay[] = []
  t.teardown(async () => {
    await Promise.allSettled(overlays.map((overlay) => overlay.unmount()))
    await stack.close()
    rmSync(dir, { recursive: true })
  })
  const upper = (name: string) => join(dir, name, 'upper')
  return {
    dir,
    stack,
    lowers,
    upper,
    open: async (name, more = '') => {
      for (const part of ['upper', 'work']) mkdirSync(join(dir, name, part), { recursive: true })
      const options = parseOptions(`${lowerdir},upperdir=${upper(name)},workdir=${dir}/${name}/work${more}`)
      const overlay = await mount(options, { ...environment, stack })
      overlays.push(overlay)
      return overlay
    },
  }
}

/** The open directories of lowers: their paths begin at the roots of private mounts, or lie in `dir` without root. */
async function lowerDescriptors({ dir, lowers }: Scene): Promise<number> {
  await closesDone()
  const inodes = new Set(lowers.flatMap((lower) => directoriesBelow(lower)))
  let count = 0
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const { dev, ino } = statSync(`/proc/self/fd/${fd}`)
      if (inodes.has(`${dev}:${ino}`) && !readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${dir}/view`)) count++
    } catch {
      // The descriptor with which the list was read.
    }
  }
  return count
}

function directoriesBelow(dir: string): string[] {
  const { dev, ino } = statSync(dir)
  const below = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [`${dev}:${ino}`, ...below.flatMap(({ name }) => directoriesBelow(join(dir, name)))]
}

const DEEP: readonly Tree[] = [
  { 'a/b/c/file': '1', 'a/x': '2', 'merged/top': '3' },
  { 'a/b/low': '4', 'merged/low': '5', 'merged/in/side': '6', other: '7' },
]

t.test('what one view has looked up in the lowers is looked up by no other', async (t) => {
  const s = await scene(t, DEEP)
  const { open, lowers } = s
  const [one, two] = [await open('one'), await open('two')]
  const seen = await treeOf(one)
  t.equal(await one.lookup(ROOT, await at(one, 'merged'), 'absent'), undefined)
  // What is on disk from now on can only be seen by reading it again, which nobody asks for without `revalidate`.
  const [top, low] = lowers as [string, string]
  chmodSync(join(top, 'a', 'x'), 0o600)
  renameSync(join(low, 'merged', 'low'), join(low, 'merged', 'absent'))
  writeFileSync(join(low, 'a', 'b', 'late'), '')
  t.same(await treeOf(two), seen, 'names, attributes, identities and listings')
  t.equal(await two.lookup(ROOT, await at(two, 'merged'), 'absent'), undefined, 'absences')
  t.equal((await treeOf(two)).length, (await treeOf(one)).length)
  for (const overlay of [one, two]) await overlay.unmount()
  const three = await open('three')
  t.not((await three.getattr(await at(three, 'a/x'))).mode, (await statMode(seen, '/a/x')) ?? 0)
  t.ok(await three.lookup(ROOT, await at(three, 'merged'), 'absent'), 'without views, everything is forgotten')
})

function statMode(lines: readonly string[], path: string): number | undefined {
  const line = lines.find((each) => each.startsWith(`${path} `) && each.includes('{'))
  return line === undefined ? undefined : (JSON.parse(line.slice(line.indexOf('{'))) as { mode: number }).mode
}

t.test('further views open no directory of a lower, and those that end close none', async (t) => {
  const s = await scene(t, DEEP)
  const one = await s.open('one')
  await treeOf(one)
  const before = await lowerDescriptors(s)
  t.ok(before >= 2 + 7, `${before}: both roots and all directories below`)
  const others = [await s.open('two'), await s.open('three')]
  for (const overlay of others) await treeOf(overlay)
  t.equal(await lowerDescriptors(s), before)
  await one.unmount()
  t.equal(await lowerDescriptors(s), before, 'the first view is gone')
  const seen = await treeOf(others[0] as Overlay)
  await Promise.all(others.map((overlay) => overlay.unmount()))
  t.equal(await lowerDescriptors(s), 2, 'the roots, which the stack holds')
  t.same(await treeOf(await s.open('four')), seen)
})

t.test('a view that changes what it shares leaves the others as they are', async (t) => {
  const { open, upper } = await scene(t, DEEP)
  const [one, two] = [await open('one'), await open('two')]
  const seen = await treeOf(two)
  await treeOf(one)
  const dir = await at(one, 'a/b')
  await one.create(ROOT, dir, 'new', { mode: 0o600 })
  await one.setattr(ROOT, await at(one, 'a/x'), { mode: 0o711, uid: 5 })
  await one.rename(ROOT, one.root, 'merged', dir, 'moved')
  await one.unlink(ROOT, one.root, 'other')
  t.same(await treeOf(two), seen)
  t.same(onDisk(upper('two')), [])
  const names: string[] = []
  await one.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
  t.same(names.sort(), ['c', 'low', 'moved', 'new'])
  t.equal((await one.getattr(await at(one, 'a/x'))).uid, 5)
  t.same((await treeOf(one)).length, (await treeOf(one)).length)
  const again = await treeOf(await open('three'))
  t.same(again, seen, 'a view that comes later')
})

t.test('a listing shows the file ids of this view, also of a directory that was moved and restored', async (t) => {
  const { open } = await scene(t, [{ 'd/f': '1', 'd/g': '2', e: '3' }])
  const [one, two] = [await open('one', ',redirect_dir=on'), await open('two', ',redirect_dir=on')]
  const seen = await treeOf(two)
  await one.setattr(ROOT, await at(one, 'd/f'), { mode: 0o600 })
  await one.rename(ROOT, one.root, 'd', one.root, 'elsewhere')
  const restored = await one.restore(ROOT, one.root, 'd')
  await treeOf(one, await at(one, 'elsewhere'))
  const listed = new Map<string, string>()
  await one.readdir(ROOT, restored, 0, ({ name, fileIdHi, fileIdLo }) => {
    listed.set(name, `${fileIdHi}:${fileIdLo}`)
    return true
  })
  for (const name of ['f', 'g']) {
    const { fileIdHi, fileIdLo } = await one.getattr(await at(one, `d/${name}`))
    t.equal(listed.get(name), `${fileIdHi}:${fileIdLo}`, name)
  }
  t.not(listed.get('f'), idIn(seen, '/d/f'), 'the changed file keeps its id under its new name')
  t.same(await treeOf(two), seen)
})

function idIn(lines: readonly string[], path: string): string | undefined {
  return lines.find((each) => each.startsWith(`${path} `) && !each.includes('{'))?.split(' ')[3]
}

t.test('ACLs of lowers are read once for all views', async (t) => {
  const { open, lowers } = await scene(t, [{ 'd/secret': { content: 'x', mode: 0o640 } }])
  const file = join(lowers[0] as string, 'd', 'secret')
  execFileSync('setfacl', ['-m', 'u:1000:r', file])
  const [one, two, three] = [await open('one'), await open('two'), await open('three')]
  const early = await at(three, 'd/secret')
  const mayRead = async (overlay: Overlay, cred: Cred) =>
    (await overlay.access(cred, await at(overlay, 'd/secret'), READ)) === READ
  t.ok(await mayRead(one, ALICE))
  t.notOk(await mayRead(one, BOB))
  execFileSync('setfacl', ['-b', file])
  for (const overlay of [two, three]) {
    t.ok(await mayRead(overlay, ALICE))
    t.notOk(await mayRead(overlay, BOB))
  }
  const attr = await two.getattr(await at(two, 'd/secret'))
  t.equal(attr, await three.getattr(early), 'the attributes are the same object')
})

t.test('views with other options do not share, and see the lowers by their own', async (t) => {
  const { open, lowers } = await scene(t, [{ 'new/own': '1' }, { 'old/kept': '2' }])
  const moved = join(lowers[0] as string, 'new')
  execFileSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/old', moved])
  const follows = await open('one', ',redirect_dir=follow')
  t.ok(await at(follows, 'new/kept'))
  const strict = await open('two', ',redirect_dir=nofollow')
  await t.rejects(at(strict, 'new'), { code: 'EPERM' })
  t.ok(await at(await open('three', ',redirect_dir=follow'), 'new/kept'))
})

/** As if the last changes were long ago, so that times of change are taken for reliable. */
const LATER = { wallClockMs: () => Date.now() + 60_000 }
/** File systems count time in ticks. */
const tick = () => new Promise((resolve) => setTimeout(resolve, 30))

t.test('with revalidate, a change that one view has noticed is seen by all', async (t) => {
  const { open, lowers } = await scene(t, [{ 'd/f': '1', 'd/gone': '2' }, { 'd/low': '3' }], LATER)
  const views = [await open('one', ',revalidate=always'), await open('two', ',revalidate=always')]
  const never = await open('never')
  const dirs: Inode[] = []
  for (const overlay of [never, ...views]) {
    await treeOf(overlay)
    const dir = await at(overlay, 'd')
    dirs.push(dir)
    t.equal(await overlay.lookup(ROOT, dir, 'new'), undefined)
  }
  for (const lower of lowers) {
    await tick()
    const dir = join(lower, 'd')
    writeFileSync(join(dir, 'new'), lower)
    rmSync(join(dir, 'gone'), { force: true })
    for (const [i, overlay] of views.entries()) {
      t.ok(await overlay.lookup(ROOT, await at(overlay, 'd'), 'new'), `view ${i}`)
      t.equal(await overlay.lookup(ROOT, await at(overlay, 'd'), 'gone'), undefined)
      const names: string[] = []
      await overlay.readdir(ROOT, await at(overlay, 'd'), 0, ({ name }) => names.push(name) > 0)
      t.same(names.sort(), ['f', 'low', 'new'])
      t.equal(await at(overlay, 'd'), dirs[i + 1], 'the directory is the same object')
    }
    await tick()
    rmSync(join(dir, 'new'))
    for (const overlay of views) t.equal(await overlay.lookup(ROOT, await at(overlay, 'd'), 'new'), undefined)
  }
  chmodSync(join(lowers[0] as string, 'd', 'f'), 0o600)
  for (const overlay of views) t.equal((await overlay.getattr(await at(overlay, 'd/f'))).mode & 0o777, 0o600)
  t.ok(await at(never, 'd/gone'), 'a view that does not look')
})

t.test('with revalidate, a file that has got another name meanwhile is known as a hard link', async (t) => {
  const options = ',index=off,revalidate=always'
  const { open, lowers } = await scene(t, [{ 'd/f': '1', 'e/': '' }], LATER)
  const [one, two] = [await open('one', options), await open('two', options)]
  const { key } = await at(one, 'd/f')
  linkSync(join(lowers[0] as string, 'd', 'f'), join(lowers[0] as string, 'e', 'g'))
  const [f, g] = [await at(two, 'd/f'), await at(two, 'e/g')]
  t.not(f.key, g.key, 'its names have their own identities')
  t.not(f.key, key)
})

t.test('with revalidate, a view sees changes of a directory that has replaced another one', async (t) => {
  const { open, lowers } = await scene(t, [{ 'd/f': '1' }], LATER)
  const [one, two] = [await open('one', ',revalidate=always'), await open('two', ',revalidate=always')]
  const lower = join(lowers[0] as string, 'd')
  const dir = await at(two, 'd')
  await two.create(ROOT, dir, 'own', { mode: 0o600 })
  await tick()
  writeFileSync(join(lower, 'g'), '')
  for (const overlay of [one, two]) t.ok(await at(overlay, 'd/g'))
  await tick()
  renameSync(lower, join(lowers[0] as string, 'old'))
  mkdirSync(lower)
  await two.getattr(two.root)
  t.equal(await two.lookup(ROOT, dir, 'late'), undefined)
  t.equal(await at(one, 'd/f').catch(() => undefined), undefined)
  await tick()
  writeFileSync(join(lower, 'late'), '')
  t.ok(await one.lookup(ROOT, await at(one, 'd'), 'late'), 'the other view notices')
  t.ok(await two.lookup(ROOT, dir, 'late'))
  t.ok(await two.lookup(ROOT, dir, 'own'))
})

t.test(
  'with revalidate, a removed file stays away, although a lower has got its name since it was looked up',
  async (t) => {
    let nowMs = 1000
    const clock = { now: () => nowMs, every: () => () => undefined }
    const { open, lowers } = await scene(t, [{ 'd/f': '1' }], { ...LATER, clock })
    const view = await open('one', ',revalidate=60')
    const dir = await at(view, 'd')
    for (const name of ['file', 'directory']) t.equal(await view.lookup(ROOT, dir, name), undefined)
    await view.create(ROOT, dir, 'file', { mode: 0o600 })
    await view.mkdir(ROOT, dir, 'directory', { mode: 0o700 })
    await tick()
    writeFileSync(join(lowers[0] as string, 'd', 'file'), 'lower')
    mkdirSync(join(lowers[0] as string, 'd', 'directory'))
    t.equal(await view.provenance(ROOT, dir, 'file'), 'changed')
    await view.unlink(ROOT, dir, 'file')
    await view.rmdir(ROOT, dir, 'directory')
    nowMs += 61_000
    for (const name of ['file', 'directory'])
      t.equal(await view.lookup(ROOT, await at(view, 'd'), name), undefined, name)
  },
)

t.test('views that list a directory at the same time read it once', async (t) => {
  const { open } = await scene(t, [{ 'd/f': '1' }, { 'd/g': '2' }])
  const views = [await open('one'), await open('two'), await open('three')]
  const dirs = await Promise.all(views.map((overlay) => at(overlay, 'd')))
  let reads = 0
  setFaultPoints({
    before: (op) => {
      if (op === 'getdents64') reads++
      return 0
    },
    after: () => undefined,
  })
  const lists = await Promise.all(
    views.map(async (overlay, i) => {
      const names: string[] = []
      await overlay.readdir(ROOT, dirs[i] as Inode, 0, ({ name }) => names.push(name) > 0)
      return names.sort()
    }),
  ).finally(() => setFaultPoints(undefined))
  t.same(
    lists,
    [1, 2, 3].map(() => ['f', 'g']),
  )
  t.ok(reads >= 2 && reads <= 4, `${reads} calls for two directories`)
})

t.test('with revalidate, further views open no directory of a lower either', async (t) => {
  const s = await scene(t, DEEP, LATER)
  const one = await s.open('one', ',revalidate=always')
  const seen = await treeOf(one)
  const before = await lowerDescriptors(s)
  const two = await s.open('two', ',revalidate=always')
  t.same(await treeOf(two), seen)
  t.equal(await lowerDescriptors(s), before)
})

t.test('small budgets hold for what is shared too, and everything stays right', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 8; i++) for (let j = 0; j < 6; j++) tree[`d${i}/e/f${j}`] = `${i} ${j}`
  const budget = (limit: number) => new CacheBudget(() => limit)
  const budgets: Budgets = { names: budget(20), listings: budget(15), directories: budget(4), files: budget(3) }
  const { open } = await scene(t, [tree], { budgets })
  const overlays = [await open('one'), await open('two'), await open('three')]
  const [first, ...others] = await Promise.all(overlays.map((overlay) => treeOf(overlay)))
  for (const other of others) t.same(other, first)
  for (const overlay of overlays) t.same(await treeOf(overlay), first)
  t.ok(budgets.names.used <= 20, `${budgets.names.used} names`)
  t.ok(budgets.listings.used <= 15, `${budgets.listings.used} entries`)
  t.ok(budgets.directories.used <= 4, `${budgets.directories.used} directories`)
  for (const overlay of overlays) await overlay.unmount()
  t.same([budgets.names.used, budgets.listings.used, budgets.directories.used], [0, 0, 0], 'nothing counts afterwards')
})

t.test('names that are not there are remembered up to a limit', async (t) => {
  const budget = (limit: number) => new CacheBudget(() => limit)
  const budgets: Budgets = { names: budget(100_000), listings: budget(15), directories: budget(4), files: budget(3) }
  const { open } = await scene(t, [{ f: '1' }], { budgets })
  const overlay = await open('one')
  const MANY = 6000
  for (let i = 0; i < MANY; i++) await overlay.lookup(ROOT, overlay.root as Inode, `absent-${i}`)
  t.equal(budgets.names.used, MANY + 4096, 'the view has all, the stack the first ones')
})
