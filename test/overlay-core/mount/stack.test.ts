import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
  open(name: string, stack?: Stack | undefined): Promise<Overlay>
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
    open: async (name, on) => {
      for (const part of ['upper', 'work']) mkdirSync(join(dir, name, part), { recursive: true })
      const options = `${lowers},upperdir=${dir}/${name}/upper,workdir=${dir}/${name}/work`
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
  await closesDone()
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
  const each = (await openDescriptors()) - before
  const two = await open('two', stack)
  t.equal((await openDescriptors()) - before, 2 * each)
  const own = await open('three')
  t.equal((await openDescriptors()) - before, 2 * each + each + 2, 'two lowers more without the stack')
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
