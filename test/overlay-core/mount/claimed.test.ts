import { mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CacheBudget } from '../../../overlay-core/base/cache-budget.ts'
import {
  claimDirectory,
  type Inode,
  mount,
  type Overlay,
  openStack,
  parseOptions,
  type Stack,
} from '../../../overlay-core/index.ts'
import type { Budgets } from '../../../overlay-core/mount/budgets.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const VIEWS = 12
const DIRECTORIES = 4

function budgetsOf(directories: number): Budgets {
  const many = new CacheBudget(() => 100_000)
  return {
    names: many,
    listings: many,
    directories: new CacheBudget(() => directories),
    files: new CacheBudget(() => 2),
  }
}

/** The number of descriptors of upper and workdirs below `dir`. */
function openBelow(dir: string): number {
  const targetOf = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      // The descriptor with which the list was read.
      return ''
    }
  }
  return readdirSync('/proc/self/fd').filter((fd) => targetOf(fd).startsWith(`${dir}/v`)).length
}

interface Scene {
  readonly dir: string
  readonly stack: Stack
  readonly open: (name: string) => Promise<Overlay>
}

/** Mounts overlays on one stack in directories that the test claims, with very few descriptors for all. */
async function scene(t: Test): Promise<Scene> {
  const dir = await mkdtemp(join(tmpdir(), 'overlayd-claimed-'))
  mkdirSync(join(dir, 'lower', 'd'), { recursive: true })
  writeFileSync(join(dir, 'lower', 'd', 'file'), 'lower')
  const stack = await openStack(parseOptions(`lowerdir=${dir}/lower`))
  const budgets = budgetsOf(DIRECTORIES)
  const overlays: Overlay[] = []
  t.teardown(async () => {
    await Promise.allSettled(overlays.map((overlay) => overlay.unmount()))
    await stack.close()
    rmSync(dir, { recursive: true })
  })
  const open = async (name: string) => {
    for (const part of ['upper', 'work']) mkdirSync(join(dir, name, part), { recursive: true })
    const options = parseOptions(`lowerdir=${dir}/lower,upperdir=${dir}/${name}/upper,workdir=${dir}/${name}/work`)
    const overlay = await mount(options, { stack, budgets, claimed: true })
    overlays.push(overlay)
    return overlay
  }
  return { dir, stack, open }
}

async function find(overlay: Overlay, ...names: string[]): Promise<Inode> {
  let inode = overlay.root
  for (const name of names) inode = (await overlay.lookup(ROOT, inode, name)) as Inode
  return inode
}

async function content(overlay: Overlay, inode: Inode): Promise<string> {
  const buffer = Buffer.alloc(100)
  return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, buffer.length, 0))
}

/** Changes names, data and handles; returns a handle. */
async function use(overlay: Overlay, name: string): Promise<{ key: number; generation: number }> {
  const file = await find(overlay, 'd', 'file')
  await overlay.write(ROOT, file, Buffer.from(name), 0, 'unstable')
  const made = await overlay.create(ROOT, overlay.root, `made-${name}`, { mode: 0o644 })
  await overlay.rename(ROOT, overlay.root, 'd', overlay.root, 'moved')
  await overlay.mkdir(ROOT, overlay.root, 'd', { mode: 0o755 })
  overlay.retain(made)
  await overlay.retained()
  await overlay.commitChanges([made, overlay.root])
  await overlay.statfs()
  return { key: made.key, generation: made.generation }
}

t.test('many overlays work with fewer descriptors than roots', async (t) => {
  const { dir, open } = await scene(t)
  const names = Array.from({ length: VIEWS }, (_, i) => `v${i}`)
  const overlays = new Map<string, Overlay>()
  for (const name of names) overlays.set(name, await open(name))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.ok(openBelow(dir) <= DIRECTORIES, `${openBelow(dir)} while idle`)
  const handles = new Map<string, { key: number; generation: number }>()
  await Promise.all(names.map(async (name) => handles.set(name, await use(overlays.get(name) as Overlay, name))))
  for (const [name, overlay] of overlays) {
    t.equal(await content(overlay, await find(overlay, 'moved', 'file')), name.padEnd(5, 'lower'.slice(name.length)))
    t.same(readdirSync(join(dir, name, 'upper')).sort(), ['d', `made-${name}`, 'moved'])
  }
  await Promise.all([...overlays.values()].map((overlay) => overlay.remount(overlay.options)))
  for (const [name, overlay] of overlays)
    t.equal(
      await content(overlay, await find(overlay, 'moved', 'file')).then((text) => text.slice(0, name.length)),
      name,
    )
  await Promise.all([...overlays.values()].map((overlay) => overlay.unmount()))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(openBelow(dir), 0, 'after unmount')
  for (const name of names.slice(0, 3)) {
    const again = await open(name)
    const { key, generation } = handles.get(name) as { key: number; generation: number }
    t.equal((await again.inodeByKey(key, generation)).key, key)
    await again.unmount()
  }
})

t.test('an upper that was exchanged for another directory is never written', async (t) => {
  const { dir, open } = await scene(t)
  const overlay = await open('one')
  await overlay.create(ROOT, overlay.root, 'mine', { mode: 0o644 })
  // Others use up all descriptors.
  for (let i = 0; i < DIRECTORIES; i++) await use(await open(`other${i}`), `other${i}`)
  renameSync(join(dir, 'one', 'upper'), join(dir, 'one', 'gone'))
  mkdirSync(join(dir, 'one', 'upper'))
  await t.rejects(Promise.resolve(overlay.create(ROOT, overlay.root, 'new', { mode: 0o644 })), { code: 'ESTALE' })
  t.same(readdirSync(join(dir, 'one', 'upper')), [])
  rmSync(join(dir, 'one', 'upper'), { recursive: true })
  renameSync(join(dir, 'one', 'gone'), join(dir, 'one', 'upper'))
  await overlay.create(ROOT, overlay.root, 'new', { mode: 0o644 })
  t.same(readdirSync(join(dir, 'one', 'upper')).sort(), ['mine', 'new'])
  t.equal(readFileSync(join(dir, 'lower', 'd', 'file'), 'latin1'), 'lower')
})

t.test('an upper below a directory that a server has claimed is refused', async (t) => {
  const dir = t.testdir({ lower: {}, views: { a: { upper: {}, work: {} } } })
  const options = parseOptions(`lowerdir=${dir}/lower,upperdir=${dir}/views/a/upper,workdir=${dir}/views/a/work`)
  const release = await claimDirectory(join(dir, 'views'))
  await t.rejects(mount(options), {
    option: 'upperdir',
    message: `upperdir: '${dir}/views' is in use by a server with all its views (EBUSY); reach the view through that server, or stop it`,
  })
  release?.()
  await (await mount(options)).unmount()
})
