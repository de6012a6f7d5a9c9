import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { type LowerKind, lowerKinds } from '../helpers/lower-kinds.ts'
import {
  checkRestarted,
  contentsOf,
  contentsOnDisk,
  Images,
  Kernel,
  Lowers,
  shown,
  takeHandles,
} from '../helpers/lower-trials.ts'
import { nfsHandles, shownOverNfs } from '../helpers/nfs-handles.ts'
import { at, ROOT } from '../helpers/overlay.ts'

t.setTimeout(900_000)

/** The layer with the data, and a newer version of it. */
const DATA = {
  data: { same: 'same data', other: 'other data', 'd/inner': 'inner data', 'deep/er/x': 'deeper data' },
  // One file more at the beginning, one changed.
  newer: {
    aaa: 'new',
    same: 'same data',
    other: 'changed, and longer',
    'd/inner': 'inner data',
    'deep/er/x': 'deeper data',
  },
} as const

/** What the layer above holds: files whose data is below, by where they say that it is, and directories that were moved. */
const METACOPY: Readonly<Record<string, string | undefined>> = {
  same: undefined,
  moved: '/other',
  'own/deep': '/deep/er/x',
}
/** Only these find their data in a data-only layer. */
const METACOPY_OF_DATA_ONLY = { same: '/same', moved: '/other', 'own/deep': '/deep/er/x' }
const MOVED_DIRECTORIES = { 'moved-d': '/d' }

type Tree = keyof typeof DATA | 'marks' | 'marks-of-data-only'

/** How the two layers are stacked. */
type Stack = 'above' | 'data-only'
type Change = 'same' | 'remounted' | 'data replaced'
const FULL = process.argv.includes('--full')
const CHANGES: readonly Change[] = FULL ? ['same', 'remounted', 'data replaced'] : ['remounted', 'data replaced']

function writeTree(dir: string, tree: Tree): void {
  mkdirSync(dir)
  if (tree === 'data' || tree === 'newer') {
    for (const [name, content] of Object.entries(DATA[tree])) put(join(dir, name), `${content}\n`)
  } else {
    for (const [name, redirect] of Object.entries(tree === 'marks' ? METACOPY : METACOPY_OF_DATA_ONLY)) {
      const of = (redirect ?? `/${name}`).slice(1) as keyof typeof DATA.data
      writeMetacopy(join(dir, name), DATA.data[of].length + 1, redirect)
    }
    put(join(dir, 'plain'), 'plain\n')
    for (const [name, redirect] of Object.entries(tree === 'marks' ? MOVED_DIRECTORIES : {})) {
      mkdirSync(join(dir, name))
      mark(join(dir, name), 'redirect', redirect)
      put(join(dir, name, 'added'), 'added\n')
    }
  }
  execFileSync('find', [dir, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
}

function put(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

function writeMetacopy(path: string, size: number, redirect: string | undefined): void {
  put(path, '')
  truncateSync(path, size)
  chmodSync(path, 0o640)
  mark(path, 'metacopy', '')
  if (redirect !== undefined) mark(path, 'redirect', redirect)
}

function mark(path: string, name: string, value: string): void {
  execFileSync('setfattr', ['-n', `trusted.overlay.${name}`, '-v', value, path])
}

/** Adds to a file whose data is below, and changes the mode of another. */
async function change(overlay: Overlay): Promise<void> {
  const moved = await at(overlay, 'moved')
  const { size } = await overlay.getattr(moved)
  await overlay.write(ROOT, moved, Buffer.from('more\n'), size, 'file')
  await overlay.setattr(ROOT, await at(overlay, 'own/deep'), { mode: 0o600 })
}

function changeOnDisk(dir: string): void {
  appendFileSync(join(dir, 'moved'), 'more\n')
  chmodSync(join(dir, 'own/deep'), 0o600)
}

async function runTrial(
  t: Test,
  { kind, stack, what, images }: { kind: LowerKind; stack: Stack; what: Change; images: Images<Tree> },
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-marks-'))
  for (const name of ['upper', 'work']) mkdirSync(join(dir, name))
  const lowers = new Lowers(kind, dir, 2)
  const lowerdir = lowers.dirs.join(stack === 'above' ? ':' : '::')
  const marks = 'index=on,redirect_dir=on,metacopy=on'
  const open = () => mount(parseOptions(`lowerdir=${lowerdir},upperdir=${dir}/upper,workdir=${dir}/work,${marks}`))
  let overlay: Overlay | undefined
  try {
    const above = await images.of(stack === 'above' ? 'marks' : 'marks-of-data-only')
    await lowers.mount([above, await images.of('data')])
    const kernel = new Kernel(dir, lowerdir, marks)
    overlay = await open()
    const before = await contentsOf(overlay)
    t.same(
      before,
      kernel.look((merged) => contentsOnDisk(merged)),
      'the kernel shows the same',
    )
    t.equal(before.moved, 'other data\n', 'the data of a metadata-only file is found')
    const handles = await takeHandles(overlay)
    const paths = handles.map(({ path }) => path)
    const overNfs = await nfsHandles(overlay, paths)
    await change(overlay)
    const after = await contentsOf(overlay)
    const kernels = kernel.look((merged) => {
      changeOnDisk(merged)
      return contentsOnDisk(merged)
    })
    t.same(after, kernels, 'after the changes the kernel shows the same')
    for (const handle of handles) {
      handle.content = after[handle.path] as string
      t.equal(await shown(overlay, handle), handle.content, `${handle.path} before the restart`)
    }
    await overlay.unmount()
    if (what !== 'same') {
      await lowers.unmount()
      await lowers.mount([above, await images.of(what === 'data replaced' ? 'newer' : 'data')])
    }
    overlay = await open()
    for (const [i, found] of (await shownOverNfs(overlay, overNfs)).entries()) {
      const { path, content } = handles[i]!
      if (!isNewData(what, path)) t.ok(found === 'ESTALE' || found === content, `${path} over NFS: ${found}`)
    }
    const unchanged = handles.filter(({ path }) => !isNewData(what, path))
    const { valid, stale } = await checkRestarted(t, overlay, unchanged, 'after the restart')
    const restarted = await contentsOf(overlay)
    if (what !== 'data replaced') t.same(restarted, after, 'all names show what they did')
    const again = kernel.look((merged) => contentsOnDisk(merged))
    // A mount in user space numbers its files anew, and the kernel takes a number for the file that had it before.
    if (again !== undefined && (kind.name !== 'bindfs' || what === 'same'))
      t.same(restarted, again, 'after the restart the kernel shows the same')
    t.comment(`${kind.name}, ${stack}, ${what}: ${valid} handles valid, ${stale} stale`)
    await overlay.unmount()
    overlay = undefined
  } finally {
    await overlay?.unmount()
    await lowers.unmount()
    rmSync(dir, { recursive: true })
  }
}

/** A file of the layer above is the same file although its data comes from the new version of the layer below. */
function isNewData(what: Change, path: string): boolean {
  return what === 'data replaced' && (path in METACOPY || path === 'other')
}

/**
 * File systems that do not show the marks that were put into them: an overlay hides marks, squashfuse lists them as other attributes and drops empty ones, the others have no extended
 * attributes.
 */
const WITHOUT_MARKS = new Set(['iso9660', 'overlay', 'archivemount', 'fuse-zip', 'rclone', 'squashfuse'])

const only = process.argv.slice(2).filter((word) => word !== '--full')
for (const kind of lowerKinds()) {
  if (WITHOUT_MARKS.has(kind.name) || (only.length > 0 && !only.includes(kind.name))) continue
  t.test(`metadata-only files, moved directories and data-only layers on ${kind.name}`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'overlayd-images-'))
    t.teardown(() => rmSync(dir, { recursive: true, force: true }))
    const images = new Images<Tree>(kind, dir, ['data', 'newer', 'marks', 'marks-of-data-only'], writeTree)
    for (const stack of ['above', 'data-only'] as const) {
      for (const what of CHANGES) await runTrial(t, { kind, stack, what, images })
    }
  })
}
