import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  createBudgets,
  FileType,
  type Inode,
  mount,
  type Overlay,
  openStack,
  openStackMemory,
  parseOptions,
  type Stack,
  type StackMemory,
} from '../../../overlay-core/index.ts'
import type { MountEnvironment } from '../../../overlay-core/mount/mount.ts'
import { at, build, ROOT, type Tree } from '../../helpers/overlay.ts'

/** The handles of objects, by their paths. */
type Handles = ReadonlyMap<string, { readonly key: number; readonly generation: number }>

/** Views on one stack with a memory, as a template has them. */
class Template {
  readonly dir: string
  readonly lowers: readonly string[]
  lowerdir: string
  more = ''
  environment: Partial<MountEnvironment> = {}
  memory!: StackMemory
  stack!: Stack
  readonly #mounted = new Set<Overlay>()

  constructor(dir: string, lowers: readonly string[]) {
    this.dir = dir
    this.lowers = lowers
    this.lowerdir = lowers.join(':')
    mkdirSync(join(dir, 'memory'), { recursive: true })
  }

  async start(): Promise<void> {
    this.memory = await openStackMemory(join(this.dir, 'memory'))
    this.stack = await this.openStack()
  }

  async openStack(lowerdir = this.lowerdir): Promise<Stack> {
    return await openStack(parseOptions(`lowerdir=${lowerdir}`), { memory: this.memory })
  }

  options(view: string, lowerdir = this.lowerdir) {
    for (const part of ['upper', 'work']) mkdirSync(join(this.dir, view, part), { recursive: true })
    const own = `upperdir=${this.dir}/${view}/upper,workdir=${this.dir}/${view}/work`
    return parseOptions(`lowerdir=${lowerdir},${own}${this.more}`)
  }

  async view(name: string): Promise<Overlay> {
    const overlay = await mount(this.options(name), { ...this.environment, stack: this.stack })
    this.#mounted.add(overlay)
    return overlay
  }

  async close(overlay: Overlay): Promise<void> {
    this.#mounted.delete(overlay)
    await overlay.unmount()
  }

  async end(): Promise<void> {
    await Promise.all([...this.#mounted].map((overlay) => this.close(overlay)))
    await this.stack.close()
    await this.memory.close()
  }

  async restart(): Promise<void> {
    await this.end()
    await this.start()
  }

  /** The size of the log of a view alone, in bytes; 0 if there is none. */
  ownBytes(view: string): number {
    const path = join(this.dir, view, 'work', 'handles.log')
    return existsSync(path) ? statSync(path).size : 0
  }
}

async function template(t: Test, trees: readonly Tree[]): Promise<Template> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-memory-'))
  const made = new Template(
    dir,
    trees.map((tree, i) => build(join(dir, `lower${i}`), tree)),
  )
  await made.start()
  t.teardown(async () => {
    await made.end().catch(() => undefined)
    rmSync(dir, { recursive: true })
  })
  return made
}

/** Lists everything with handles, as READDIRPLUS does. */
async function walk(overlay: Overlay, dir: Inode = overlay.root, path = '', found: Map<string, Inode> = new Map()) {
  const inside: [Inode, string][] = []
  await overlay.readdirPlus(ROOT, dir, 0, ({ name, inode }) => {
    if (!inode) return true
    overlay.retain(inode)
    found.set(`${path}${name}`, inode)
    if (inode.type === FileType.directory) inside.push([inode, `${path}${name}/`])
    return true
  })
  await overlay.retained()
  for (const [below, prefix] of inside) await walk(overlay, below, prefix, found)
  return found
}

async function handlesOf(overlay: Overlay): Promise<Handles> {
  return new Map([...(await walk(overlay))].map(([path, { key, generation }]) => [path, { key, generation }]))
}

/** Compares where handles lead with what the paths are now. */
async function check(t: Test, overlay: Overlay, handles: Handles, what: string): Promise<void> {
  for (const [path, { key, generation }] of handles) {
    try {
      t.equal(await overlay.inodeByKey(key, generation), await at(overlay, path), `${what}: ${path}`)
    } catch (error) {
      t.fail(`${what}: ${path}: ${(error as Error).message}`)
    }
  }
}

const TREES: readonly Tree[] = [
  { 'a/b/f': '1', 'a/x': '2', 'm/top': '3', link: 'y' },
  { 'a/b/low': '4', 'm/low': '5', 'm/in/side': '6', other: '7', hard: '8', 'd/hard2': '= hard' },
]
/** The names in both. */
const NAMES = 15

t.test(
  'views that walk the same lowers have one record of each object, which outlives them and the process',
  async (t) => {
    const s = await template(t, TREES)
    const [one, two] = [await s.view('one'), await s.view('two')]
    const handles = await handlesOf(one)
    t.equal(handles.size, NAMES)
    const { handles: count, bytes } = s.memory.usage
    t.equal(count, new Set([...handles.values()].map(({ key }) => key)).size, 'hard links are one object')
    t.same(await handlesOf(two), handles, 'the same identities')
    t.same(s.memory.usage, { handles: count, bytes }, 'the second view adds nothing')
    for (const view of ['one', 'two']) t.equal(s.ownBytes(view), 0, `${view} has no log`)
    await s.close(one)
    await check(t, await s.view('one'), handles, 'opened again')
    await s.restart()
    t.same(s.memory.usage, { handles: count, bytes })
    await check(t, await s.view('two'), handles, 'after a restart')
    await check(t, await s.view('three'), handles, 'a view that came later has the same objects')
  },
)

t.test('a server that is killed after a reply loses no handle', async (t) => {
  const s = await template(t, TREES)
  const one = await s.view('one')
  const handles = await handlesOf(one)
  await one.rename(ROOT, one.root, 'm', await at(one, 'a'), 'moved')
  const logs = [join(s.dir, 'memory', 'handles.log'), join(s.dir, 'one', 'work', 'handles.log')]
  for (const log of logs) copyFileSync(log, `${log}.killed`)
  await s.end()
  for (const log of logs) renameSync(`${log}.killed`, log)
  await s.start()
  const moved = new Map([...handles].map(([path, handle]) => [path.replace(/^m(?=\/|$)/, 'a/moved'), handle]))
  await check(t, await s.view('one'), moved, 'after the kill')
})

t.test('what a view changes has records of its own, and leaves those of others alone', async (t) => {
  const s = await template(t, TREES)
  const [one, two] = [await s.view('one'), await s.view('two')]
  const before = await handlesOf(one)
  await handlesOf(two)
  await one.setattr(ROOT, await at(one, 'a/x'), { mode: 0o600 })
  await one.rename(ROOT, await at(one, 'a'), 'x', one.root, 'x2')
  await one.rename(ROOT, one.root, 'm', await at(one, 'a/b'), 'm2')
  await one.unlink(ROOT, one.root, 'other')
  await one.create(ROOT, one.root, 'other', { mode: 0o600 })
  await one.link(ROOT, await at(one, 'hard'), one.root, 'hard3')
  await one.unlink(ROOT, one.root, 'hard')
  const made = await handlesOf(one)
  const renamed = new Map(
    [...before]
      .filter(([path]) => path !== 'other' && path !== 'hard')
      .map(([path, handle]) => [path.replace(/^m(?=\/|$)/, 'a/b/m2').replace('a/x', 'x2'), handle]),
  )
  const gone = before.get('other') as { key: number; generation: number }
  for (const when of ['at once', 'after a restart']) {
    const [now, neighbour] = when === 'at once' ? [one, two] : [await s.view('one'), await s.view('two')]
    await check(t, now, renamed, when)
    await check(t, now, made, when)
    await check(t, neighbour, before, `the other view, ${when}`)
    await t.rejects(now.inodeByKey(gone.key, gone.generation) as Promise<Inode>, { code: 'ESTALE' })
    if (when === 'at once') await s.restart()
  }
})

t.test('a handle of a changed file leads to it, even if its lower was moved', async (t) => {
  const s = await template(t, TREES)
  s.more = ',revalidate=always'
  const [one, two] = [await s.view('one'), await s.view('two')]
  const handles = await handlesOf(one)
  await handlesOf(two)
  await one.write(ROOT, await at(one, 'a/x'), Buffer.from('own'), 0, 'file')
  renameSync(join(s.lowers[0] as string, 'a', 'x'), join(s.lowers[0] as string, 'a', 'b', 'x'))
  t.ok((await handlesOf(two)).has('a/b/x'))
  await s.restart()
  const { key, generation } = handles.get('a/x') as { key: number; generation: number }
  const again = await s.view('one')
  t.equal(await again.inodeByKey(key, generation), await at(again, 'a/x'))
  const other = await s.view('two')
  t.equal(await other.inodeByKey(key, generation), await at(other, 'a/b/x'))
})

t.test('records of lower objects that views have in their own logs go on to count, and leave them', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`many/${`file${i}`.padEnd(60, '-')}`, '']))
  const s = await template(t, [{ ...TREES[0], ...many }, TREES[1] as Tree])
  const alone = async (view: string) => {
    const overlay = await mount(s.options(view))
    const handles = await handlesOf(overlay)
    await overlay.rename(ROOT, overlay.root, 'm', overlay.root, `m-${view}`)
    await overlay.unmount()
    return new Map([...handles].map(([path, handle]) => [path.replace(/^m(?=\/|$)/, `m-${view}`), handle]))
  }
  const handles = await alone('one')
  const bytes = s.ownBytes('one')
  t.ok(bytes > 50_000)
  await s.close(await s.view('one'))
  t.equal(s.ownBytes('one'), bytes)
  let overlay = await s.view('one')
  await check(t, overlay, handles, 'before anything was listed')
  await walk(overlay)
  await check(t, overlay, handles, 'listed')
  await s.close(overlay)
  t.ok(s.ownBytes('one') < 2000, `${s.ownBytes('one')} bytes are left in the log of the view`)
  await s.restart()
  overlay = await s.view('one')
  await check(t, overlay, handles, 'after a restart')
})

t.test('a view whose file systems have other numbers keeps its records to itself', async (t) => {
  const s = await template(t, TREES)
  await handlesOf(await s.view('one'))
  const { usage } = s.memory
  // Another file system got the first number, as when the view was made with other lowers.
  const other = mkdtempSync('/dev/shm/overlayd-memory-')
  t.teardown(() => rmSync(other, { recursive: true }))
  const own = `upperdir=${other}/upper,workdir=${other}/work`
  for (const part of ['upper', 'work', 'lower']) mkdirSync(join(other, part))
  await (await mount(parseOptions(`lowerdir=${other}/lower,${own}`))).unmount()
  const options = parseOptions(`lowerdir=${s.lowerdir},${own}`)
  const open = () => mount(options, { stack: s.stack })
  let odd = await open()
  const handles = await handlesOf(odd)
  t.same(s.memory.usage, usage, 'nothing was added')
  await odd.unmount()
  odd = await open()
  await check(t, odd, handles, 'opened again')
  await odd.unmount()
})

t.test('overlays that are remounted to another stack share it, and handles, locks and open files go on', async (t) => {
  const s = await template(t, TREES)
  const [low, top] = [s.lowers[1] as string, build(join(s.dir, 'new'), { 'a/b/f': 'new', extra: 'e' })]
  const budgets = createBudgets()
  s.environment = { budgets }
  const views = await Promise.all(['one', 'two', 'three', 'four'].map((name) => s.view(name)))
  const [one] = views as [Overlay]
  const handles = await handlesOf(one)
  for (const overlay of views) await handlesOf(overlay)
  await one.rename(ROOT, one.root, 'other', one.root, 'kept')
  const file = await at(one, 'm/low')
  const open = await one.open(ROOT, file, { read: true })
  const next = [top, ...s.lowers].join(':')
  const old = s.stack
  const stack = await s.openStack(next)
  const closed = old.close()
  const remount = (overlay: Overlay, name: string) => overlay.remount(s.options(name, next), { stack })
  await Promise.all(['one', 'two', 'three', 'four'].map((name, i) => remount(views[i] as Overlay, name)))
  t.equal(stack.users, 4)
  await closed
  t.pass('nobody uses the old stack')
  s.stack = stack
  s.lowerdir = next
  const seen = await walk(one)
  t.equal(await one.inodeByKey(file.key, file.generation), file, 'the object is the same')
  const buffer = Buffer.alloc(1)
  t.equal(await open.read(buffer, 0, 1, 0), 1)
  t.equal(buffer.toString(), '5')
  await open.close()
  const held = () => ({ names: budgets.names.used, dirs: budgets.directories.used, handles: s.memory.usage.handles })
  // The first one has changed something, so the second one looks at more.
  await walk(views[1] as Overlay)
  const two = held()
  await walk(views[2] as Overlay)
  const three = held()
  await walk(views[3] as Overlay)
  const each = three.names - two.names
  t.ok(each > 0 && each <= seen.size, `a further view adds its own names only: ${each} of ${two.names}`)
  t.same(held(), { ...two, names: two.names + 2 * each }, 'and no descriptor, no record')
  const same = new Map([...handles].filter(([path]) => path !== 'a/b/f' && path !== 'other'))
  same.set('kept', handles.get('other') as { key: number; generation: number })
  for (const when of ['remounted', 'after a restart']) {
    if (when !== 'remounted') await s.restart()
    const now = when === 'remounted' ? one : await s.view('one')
    // The topmost of merged directories gives them their identity, unless they have an upper.
    const unmerged = new Map([...same].filter(([path]) => !/^a(\/b)?$/.test(path) && !path.startsWith('a/')))
    await check(t, now, unmerged, when)
  }
  t.ok(low)
})

t.test('views that are remounted one after the other, or opened afterwards, see the same stack', async (t) => {
  const s = await template(t, TREES)
  let nowMs = 1_000_000
  const budgets = createBudgets()
  s.environment = { budgets, wallClockMs: () => (nowMs += 10_000) }
  const [one, two] = [await s.view('one'), await s.view('two')]
  await s.close(await s.view('closed'))
  const next = s.lowers[1] as string
  const old = s.stack
  s.stack = await s.openStack(next)
  s.lowerdir = next
  for (const [name, overlay] of [['one', one] as const, ['two', two] as const])
    await overlay.remount(s.options(name), { stack: s.stack })
  await old.close()
  const views = [one, two, await s.view('closed'), await s.view('new')]
  await walk(one)
  const { used } = budgets.directories
  const ctimes = new Set<number>()
  for (const overlay of views) {
    await walk(overlay)
    ctimes.add((await overlay.getattr(await at(overlay, 'm'))).ctime.sec)
  }
  t.equal(budgets.directories.used, used, 'no further descriptor of a lower')
  t.equal(ctimes.size, 1)
})

t.test('a failing remount leaves an overlay on its stack', async (t) => {
  const s = await template(t, TREES)
  const one = await s.view('one')
  const stack = await s.openStack(s.lowers[0])
  await t.rejects(one.remount(s.options('one', s.lowers[1]), { stack }), /is not that of the stack/)
  const stranger = await openStack(parseOptions(`lowerdir=${s.lowers[0]}`))
  await t.rejects(one.remount(s.options('one', s.lowers[0]), { stack: stranger }), /another memory/)
  t.same([stack.users, stranger.users, s.stack.users], [0, 0, 1])
  t.equal((await walk(one)).size, NAMES)
  await Promise.all([stack.close(), stranger.close()])
  writeFileSync(join(s.dir, 'one', 'upper', 'probe'), '')
})
