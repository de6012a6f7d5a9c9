import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  type Inode,
  mount,
  OptionError,
  type Overlay,
  openStack,
  parseOptions,
  type Stack,
} from '../../../overlay-core/index.ts'
import { closesDone } from '../../../overlay-core/sys/open.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }

interface Scene {
  readonly dir: string
  readonly stack: Stack
  /** Mounts the overlay `name` on the stack, or on lowers of its own. */
  open(name: string, stack?: Stack | undefined, more?: string): Promise<Overlay>
}

async function scene(t: Test): Promise<Scene> {
  const dir = await mkdtemp(join(tmpdir(), 'overlayd-stack-'))
  for (const part of ['top/d', 'bottom/d']) mkdirSync(join(dir, part), { recursive: true })
  for (const name of ['top/a', 'bottom/b', 'top/d/c', 'bottom/d/e']) writeFileSync(join(dir, name), name)
  const lowers = `lowerdir=${dir}/top:${dir}/bottom`
  const stack = await openStack(parseOptions(lowers))
  const overlays: Overlay[] = []
  t.teardown(async () => {
    await Promise.allSettled(overlays.map((overlay) => overlay.unmount()))
    await stack.close()
    rmSync(dir, { recursive: true })
  })
  return {
    dir,
    stack,
    open: async (name, on, more = '') => {
      for (const part of ['upper', 'work']) mkdirSync(join(dir, name, part), { recursive: true })
      const options = `${lowers},upperdir=${dir}/${name}/upper,workdir=${dir}/${name}/work${more}`
      const overlay = await mount(parseOptions(options), { stack: on })
      overlays.push(overlay)
      return overlay
    },
  }
}

async function find(overlay: Overlay, path: string): Promise<Inode | undefined> {
  let inode: Inode | undefined = overlay.root
  for (const name of path.split('/')) inode = inode && (await overlay.lookup(ROOT, inode, name))
  return inode
}

async function content(overlay: Overlay, path: string): Promise<string | undefined> {
  const inode = await find(overlay, path)
  if (!inode) return undefined
  const buffer = Buffer.alloc(100)
  return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, buffer.length, 0))
}

/** The number of open files and directories, without pipes and the like. */
async function openDescriptors(): Promise<number> {
  for (let last = -1; ; await delay(50)) {
    await closesDone()
    const now = countDescriptors()
    // Descriptors that calls have left are closed soon after them.
    if (now === last) return now
    last = now
  }
}

function countDescriptors(): number {
  const isFile = (fd: string) => {
    try {
      return /^\/(?!dev|proc)/.test(readlinkSync(`/proc/self/fd/${fd}`))
    } catch {
      // The descriptor with which the list was read.
      return false
    }
  }
  return readdirSync('/proc/self/fd').filter(isFile).length
}

t.test('overlays on one stack do not see the changes of each other', async (t) => {
  const { open, stack, dir } = await scene(t)
  const [one, two] = [await open('one', stack), await open('two', stack)]
  t.equal(stack.users, 2)
  for (const overlay of [one, two]) {
    t.equal(await content(overlay, 'd/c'), 'top/d/c')
    t.equal(await content(overlay, 'd/e'), 'bottom/d/e')
  }
  await one.write(ROOT, (await find(one, 'd/c')) as Inode, Buffer.from('CHANGED'), 0, 'unstable')
  await one.unlink(ROOT, one.root, 'b')
  await one.rename(ROOT, one.root, 'd', one.root, 'moved')
  t.equal(await content(one, 'moved/c'), 'CHANGED')
  t.equal(await content(one, 'd/c'), undefined)
  t.equal(await content(two, 'd/c'), 'top/d/c')
  t.equal(await content(two, 'b'), 'bottom/b')
  t.equal(await find(two, 'moved'), undefined)
  t.equal(readFileSync(join(dir, 'top/d/c'), 'latin1'), 'top/d/c')
  t.same(readdirSync(join(dir, 'two', 'upper')), [])
})

t.test('objects have the same identity with a stack and without, also after a restart', async (t) => {
  const { open, stack } = await scene(t)
  const idOf = async (overlay: Overlay, path: string) => {
    const inode = (await find(overlay, path)) as Inode
    const { fileIdHi, fileIdLo } = await overlay.getattr(inode)
    return { key: inode.key, generation: inode.generation, fileIdHi, fileIdLo }
  }
  const shared = await open('one', stack)
  const own = await open('two')
  for (const path of ['a', 'b', 'd', 'd/c', 'd/e']) t.same(await idOf(shared, path), await idOf(own, path), path)
  const file = (await find(shared, 'd/e')) as Inode
  shared.retain(file)
  await shared.retained()
  await shared.unmount()
  const again = await open('one')
  t.equal(await content(again, 'd/e'), 'bottom/d/e')
  t.equal((await again.inodeByKey(file.key, file.generation)).key, file.key)
})

t.test('the lowers of a stack are opened once, and closed after its last overlay', async (t) => {
  const { open, stack } = await scene(t)
  // The first mount of a process opens more.
  await (await open('first')).unmount()
  const before = await openDescriptors()
  const one = await open('one', stack)
  const withOne = await openDescriptors()
  const two = await open('two', stack)
  const each = (await openDescriptors()) - withOne
  const own = await open('three')
  t.equal((await openDescriptors()) - withOne, 2 * each + 2, 'two lowers more without the stack')
  await own.unmount()
  let closed = false
  const closing = stack.close().then(() => {
    closed = true
  })
  await t.rejects(open('four', stack), OptionError)
  await one.unmount()
  t.equal(await content(two, 'a'), 'top/a')
  t.notOk(closed)
  await two.unmount()
  await closing
  t.equal(await openDescriptors(), before - 2)
  await t.resolves(stack.close(), 'again')
})

t.test('other lowers than those of the stack are refused, and a mount that fails leaves it', async (t) => {
  const { dir, stack } = await scene(t)
  const wrong = mount(parseOptions(`lowerdir=${dir}/bottom:${dir}/top`), { stack })
  await t.rejects(wrong, { option: 'lowerdir', message: /stack/ })
  const missing = `lowerdir=${dir}/top:${dir}/bottom,upperdir=${dir}/none,workdir=${dir}/none-either`
  await t.rejects(mount(parseOptions(missing), { stack }), { option: 'upperdir', message: /does not exist/ })
  mkdirSync(join(dir, 'top', 'inside'))
  mkdirSync(join(dir, 'w'))
  const nested = `lowerdir=${dir}/top:${dir}/bottom,upperdir=${dir}/top/inside,workdir=${dir}/w`
  await t.rejects(mount(parseOptions(nested), { stack }), { option: 'upperdir', message: /inside the lowerdir/ })
  t.equal(stack.users, 0)
})

t.test('a remount of one overlay to other lowers leaves the others on the stack alone', async (t) => {
  const { dir, open, stack } = await scene(t)
  const [one, two] = [await open('one', stack), await open('two', stack)]
  mkdirSync(join(dir, 'new'))
  writeFileSync(join(dir, 'new', 'a'), 'new/a')
  const next = `lowerdir=${dir}/new:${dir}/bottom,upperdir=${dir}/one/upper,workdir=${dir}/one/work`
  await one.remount(parseOptions(next))
  t.equal(await content(one, 'a'), 'new/a')
  t.equal(await content(one, 'd/e'), 'bottom/d/e')
  t.equal(await content(two, 'a'), 'top/a')
  await one.remount(parseOptions(next.replace(`${dir}/new:`, '')))
  t.equal(await content(one, 'a'), undefined)
  t.equal(await content(one, 'b'), 'bottom/b')
  await one.unmount()
  for (const path of ['a', 'b', 'd/c', 'd/e']) t.ok(await content(two, path), path)
  const three = await open('three', stack)
  t.equal(await content(three, 'a'), 'top/a')
})

t.test('read-only overlays without an upper share a stack too', async (t) => {
  const { dir, stack } = await scene(t)
  const options = parseOptions(`lowerdir=${dir}/top:${dir}/bottom`)
  const overlays = [await mount(options, { stack }), await mount(options, { stack })]
  for (const overlay of overlays) {
    t.ok(overlay.readOnly)
    t.equal(await content(overlay, 'd/e'), 'bottom/d/e')
  }
  for (const overlay of overlays) await overlay.unmount()
  t.equal(stack.users, 0)
})

t.test(
  'with revalidate all overlays on the stack see what changes in a lower, also in directories that they have changed',
  async (t) => {
    const { dir, open, stack } = await scene(t)
    const overlays: Overlay[] = []
    for (const name of ['one', 'two', 'three']) overlays.push(await open(name, stack, ',revalidate=always'))
    const [one, two, three] = overlays as [Overlay, Overlay, Overlay]
    for (const overlay of overlays) {
      t.equal(await content(overlay, 'd/c'), 'top/d/c')
      t.equal(await content(overlay, 'd/new'), undefined)
    }
    await two.create(ROOT, (await find(two, 'd')) as Inode, 'own', { mode: 0o644 })
    await three.unlink(ROOT, (await find(three, 'd')) as Inode, 'e')
    writeFileSync(join(dir, 'top/d/new'), 'new')
    writeFileSync(join(dir, 'top/d/c'), 'CHANGED')
    rmSync(join(dir, 'bottom/b'))
    for (const overlay of overlays) {
      t.equal(await content(overlay, 'd/new'), 'new')
      t.equal(await content(overlay, 'd/c'), 'CHANGED')
      t.equal(await content(overlay, 'b'), undefined)
    }
    t.equal(await content(one, 'd/own'), undefined, 'and nobody sees the changes of another')
    t.equal(await content(one, 'd/e'), 'bottom/d/e')
    t.equal(await content(three, 'd/e'), undefined)
  },
)

const AS_ROOT = { skip: process.geteuid?.() !== 0 && 'only root can mount a disk' }

t.test('an overlay whose disk is full leaves the others on the stack alone', AS_ROOT, async (t) => {
  const { dir, open, stack } = await scene(t)
  mkdirSync(join(dir, 'full'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', join(dir, 'full')])
  t.teardown(() => execFileSync('umount', ['-l', join(dir, 'full')]))
  const [full, other] = [await open('full', stack), await open('other', stack)]
  const big = Buffer.alloc(16 * 1024)
  const fill = async (overlay: Overlay) => {
    const file = await overlay.create(ROOT, overlay.root, 'big', { mode: 0o644 })
    for (let i = 0; i < 8; i++) await overlay.write(ROOT, file, big, i * big.length, 'unstable')
  }
  await t.rejects(fill(full), { code: 'ENOSPC' })
  const lower = (await find(full, 'd/c')) as Inode
  await t.rejects(async () => full.write(ROOT, lower, Buffer.from('changed'), 0, 'unstable'), { code: 'ENOSPC' })
  await fill(other)
  await other.write(ROOT, (await find(other, 'd/c')) as Inode, Buffer.from('changed'), 0, 'file')
  t.equal(await content(other, 'd/c'), 'changed')
  t.equal(await content(full, 'd/c'), 'top/d/c')
  await full.setattr(ROOT, (await find(full, 'big')) as Inode, { size: 0 })
  await full.write(ROOT, lower, Buffer.from('changed'), 0, 'unstable')
  t.equal(await content(full, 'd/c'), 'changed', 'and works again when there is space')
})
