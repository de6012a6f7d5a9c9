import { execFileSync } from 'node:child_process'
import { appendFileSync, linkSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { type LowerKind, lowerKinds } from '../helpers/lower-kinds.ts'
import {
  type Contents,
  checkRestarted,
  contentsOf,
  contentsOnDisk,
  type Handle,
  Images,
  Kernel,
  Lowers,
  shown,
  takeHandles,
} from '../helpers/lower-trials.ts'
import { nfsHandles, shownOverNfs } from '../helpers/nfs-handles.ts'
import { at, errnoOf, list, ROOT } from '../helpers/overlay.ts'

t.setTimeout(900_000)

/** The trees of the images: the same shapes, so that the same inode numbers stand for other things. */
const TREES = {
  a: { a1: 'a linked', a3: 'a moved', a4: 'a apart', a5: 'a plain', both: 'a both', 'd/a': 'a in d' },
  b: { b1: 'b linked', b3: 'b moved', b4: 'b apart', b5: 'b plain', both: 'b both', 'd/b': 'b in d' },
  // As of a newer version of the first: one file more at the beginning, one less in the middle, one changed.
  c: { a0: 'c new', a1: 'c linked', a4: 'c apart', a5: 'c plain', both: 'c both', 'd/a': 'c in d' },
} as const
type TreeName = keyof typeof TREES

/** Two names of one file. */
const LINKS: Readonly<Record<TreeName, readonly [string, string]>> = {
  a: ['a1', 'a2'],
  b: ['b1', 'b2'],
  c: ['a1', 'a2'],
}

/** What happens to the lowers while the overlay is stopped. */
type Change = 'same' | 'remounted' | 'replaced' | 'replaced by a copy of the UUID' | 'exchanged'
const CHANGES: readonly Change[] = ['same', 'remounted', 'exchanged', 'replaced', 'replaced by a copy of the UUID']

/** In which order names are looked up before any handle is used after a restart; all of them with `--full`, which also takes names of kinds. */
const ORDERS = process.argv.includes('--full')
  ? (['none', 'forward', 'backward'] as const)
  : (['none', 'backward'] as const)

/** Which lowers there are. */
type Stack = 'one' | 'two' | 'two of one UUID'

function writeTree(dir: string, tree: TreeName): void {
  mkdirSync(join(dir, 'd'), { recursive: true })
  for (const [name, content] of Object.entries(TREES[tree])) writeFileSync(join(dir, name), `${content}\n`)
  linkSync(join(dir, LINKS[tree][0]), join(dir, LINKS[tree][1]))
  // All of one second, as in archives that are made to be the same every time.
  execFileSync('find', [dir, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
}

/** What is done to an overlay of these trees, by name: content added by one of two links, a file moved, another made different. */
function changesOf(trees: readonly TreeName[]): { append: string[]; move: string[]; mode: string[] } {
  return {
    append: trees.map((tree) => LINKS[tree][0]),
    move: trees.map((tree) => `${tree}3`),
    mode: trees.map((tree) => `${tree}4`),
  }
}

async function change(overlay: Overlay, trees: readonly TreeName[]): Promise<void> {
  const { append, move, mode } = changesOf(trees)
  for (const name of append) {
    const inode = await at(overlay, name)
    const { size } = await overlay.getattr(inode)
    await overlay.write(ROOT, inode, Buffer.from('added\n'), size, 'file')
  }
  for (const name of move) await overlay.rename(ROOT, overlay.root, name, overlay.root, `moved-${name}`)
  for (const name of mode) await overlay.setattr(ROOT, await at(overlay, name), { mode: 0o640 })
}

function changeOnDisk(dir: string, trees: readonly TreeName[]): void {
  const { append, move, mode } = changesOf(trees)
  for (const name of append) appendFileSync(join(dir, name), 'added\n')
  for (const name of move) renameSync(join(dir, name), join(dir, `moved-${name}`))
  for (const name of mode) execFileSync('chmod', ['640', join(dir, name)])
}

/** Looks all names up, in one order or the other, before any handle is used. */
async function lookAtAll(overlay: Overlay, order: 'forward' | 'backward' | 'none'): Promise<void> {
  if (order === 'none') return
  const names = await list(overlay)
  for (const name of order === 'forward' ? names : names.reverse()) await at(overlay, name)
  for (const name of await list(overlay, 'd')) await at(overlay, `d/${name}`)
}

interface Trial {
  readonly kind: LowerKind
  readonly stack: Stack
  readonly change: Change
  readonly images: Images<TreeName>
}

/** The images after a change. */
async function imagesAfter(
  { stack, change: what, images }: Trial,
  before: readonly string[],
): Promise<readonly string[]> {
  if (what === 'exchanged') return [...before].reverse()
  if (!what.startsWith('replaced')) return before
  return [await images.of('c', what !== 'replaced' || stack === 'two of one UUID'), ...before.slice(1)]
}

async function runTrial(t: Test, trial: Trial): Promise<{ valid: number; stale: number; links: string }> {
  const { kind, stack, change: what, images } = trial
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-identity-'))
  const trees: readonly TreeName[] = stack === 'one' ? ['a'] : ['a', 'b']
  const lowers = new Lowers(kind, dir, trees.length)
  for (const name of ['upper', 'work']) mkdirSync(join(dir, name))
  const options = `lowerdir=${lowers.dirs.join(':')},upperdir=${dir}/upper,workdir=${dir}/work`
  const open = () => mount(parseOptions(options))
  let overlay: Overlay | undefined
  try {
    const cloned = stack === 'two of one UUID' || what === 'replaced by a copy of the UUID'
    const before = await Promise.all(trees.map((tree) => images.of(tree, cloned)))
    await lowers.mount(before)
    const kernel = new Kernel(dir, lowers.dirs.join(':'))
    overlay = await open()
    const handles = await takeHandles(overlay)
    const overNfs = await nfsHandles(
      overlay,
      handles.map(({ path }) => path),
    )
    t.same(
      await contentsOf(overlay),
      kernel.look((merged) => contentsOnDisk(merged)) ?? (await contentsOf(overlay)),
      'the kernel shows the same',
    )
    if (kind.failsCopyUp)
      t.equal(await errnoOf(() => change(overlay as Overlay, trees)), 'EIO', 'nothing can be changed')
    else await change(overlay, trees)
    const after = await contentsOf(overlay)
    const joined = after.a1 === after.a2
    const kernels = kernel.look((merged) => {
      changeOnDisk(merged, trees)
      return contentsOnDisk(merged)
    })
    if (kernels && keepsLinks(kind)) t.same(after, kernels, 'after the changes the kernel shows the same')
    await checkHandles(t, overlay, handles, after, 'before the restart')
    t.same(
      await shownOverNfs(overlay, overNfs),
      handles.map(({ content }) => content),
      'over NFS before the restart',
    )
    await overlay.unmount()
    if (what !== 'same') {
      await lowers.unmount()
      await lowers.mount(await imagesAfter(trial, before))
    }
    let sums = { valid: 0, stale: 0 }
    for (const order of ORDERS) {
      overlay = await open()
      await lookAtAll(overlay, order)
      for (const [at, found] of (await shownOverNfs(overlay, overNfs)).entries()) {
        const { path, content } = handles[at] as Handle
        t.ok(found === 'ESTALE' || found === content, `${path} over NFS, ${order}: ${found}, was ${content}`)
      }
      sums = await checkRestarted(t, overlay, handles, `after the restart, names looked up ${order}`)
      const restarted = await contentsOf(overlay)
      // What lies in memory is another file system after it was mounted anew.
      if (what === 'same' || (what === 'remounted' && kind.name !== 'tmpfs'))
        t.same(restarted, after, 'all names show what they did')
      const again = kernel.look((merged) => contentsOnDisk(merged))
      // Where a lower was replaced the kernel takes links of the new one for those of the old one.
      if (again && keepsLinks(kind) && !what.startsWith('replaced'))
        t.same(restarted, again, `${order}: the kernel shows the same`)
      await overlay.unmount()
    }
    overlay = undefined
    return { ...sums, links: joined ? 'joined' : 'apart' }
  } finally {
    await overlay?.unmount()
    await lowers.unmount()
    rmSync(dir, { recursive: true })
  }
}

/** The kernel trusts one lower in user space as far as a disk. */
function keepsLinks({ name, stead }: LowerKind): boolean {
  return stead === undefined && !['archivemount', 'fuse-zip', 'rclone', 'bindfs', 'squashfuse'].includes(name)
}

/** While the overlay is mounted every handle shows its file, whatever it is called now. */
async function checkHandles(t: Test, overlay: Overlay, handles: Handle[], now: Contents, when: string): Promise<void> {
  for (const handle of handles) {
    handle.content = (now[handle.path] ?? now[`moved-${handle.path}`]) as string
    t.equal(await shown(overlay, handle), handle.content, `${handle.path} ${when}`)
  }
}

const only = process.argv.slice(2).filter((word) => word !== '--full')
for (const kind of lowerKinds()) {
  if (only.length > 0 && !only.includes(kind.name)) continue
  t.test(`lowers on ${kind.name}: no file is taken for another`, async (t) => {
    if (kind.stead !== undefined) t.comment(kind.stead)
    const dir = mkdtempSync(join(tmpdir(), 'overlayd-images-'))
    t.teardown(() => rmSync(dir, { recursive: true, force: true }))
    const images = new Images(kind, dir, Object.keys(TREES) as TreeName[], writeTree)
    const stacks: Stack[] = ['one', 'two']
    // btrfs mounts no second file system of one UUID beside the first.
    if (kind.clones && kind.hasUuid && kind.name !== 'btrfs') stacks.push('two of one UUID')
    for (const stack of stacks) {
      for (const change of CHANGES) {
        if (change === 'exchanged' && stack === 'one') continue
        if (change === 'replaced by a copy of the UUID' && (!kind.hasUuid || stack !== 'one')) continue
        const { valid, stale, links } = await runTrial(t, { kind, stack, change, images })
        t.comment(`${kind.name}, ${stack}, ${change}: ${valid} handles valid, ${stale} stale, links ${links}`)
      }
    }
  })
}
