import { execFileSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { FileType, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { at, build, list, put, ROOT, type Tree, text } from '../helpers/overlay.ts'
import { fuse } from '../helpers/storage.ts'

const MODE = { mode: 0o755 }
const LOWER: Tree = {
  'd/a': '1',
  'd/b': '2',
  'd/sub/s': '5',
  'e/x': '3',
  'e/deep/y': 'y',
  f: '4',
  kept: 'kept',
  'moved/file': 'm',
  replaced: 'a file',
}

interface Layers {
  readonly dir: string
  readonly lower: string
  readonly upper: string
  readonly work: string
}

async function withLayers(test: (layers: Layers) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-oci-'))
  try {
    const [upper, work] = [join(dir, 'upper'), join(dir, 'work')]
    mkdirSync(upper)
    mkdirSync(work)
    await test({ dir, lower: build(join(dir, 'lower'), LOWER), upper, work })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function withOverlay<T>(options: string, work: (overlay: Overlay) => Promise<T>): Promise<T> {
  const overlay = await mount(parseOptions(options))
  try {
    return await work(overlay)
  } finally {
    await overlay.unmount()
  }
}

/** A tree as fuse-overlayfs shows it. */
async function throughFuse<T>(
  { dir }: Layers,
  options: string,
  work: (mounted: string) => T,
  environment: Record<string, string> = {},
): Promise<T> {
  const mounted = join(dir, 'mounted')
  mkdirSync(mounted, { recursive: true })
  const end = await fuse(mounted, ['fuse-overlayfs', '-f', '-o', options, mounted], environment)
  try {
    return work(mounted)
  } finally {
    await end()
  }
}

/** Paths, types, owners, modes and contents of a tree on disk. */
function treeOf(dir: string, path = ''): string[] {
  return readdirSync(join(dir, path))
    .sort()
    .flatMap((name) => {
      const below = join(path, name)
      const { uid, gid, mode } = lstatSync(join(dir, below))
      const directory = (mode & FileType.directory) === FileType.directory
      const content = directory ? '' : readFileSync(join(dir, below), 'latin1')
      const line = `${below} ${mode.toString(8)} ${uid}:${gid} ${content}`
      return directory ? [line, ...treeOf(dir, below)] : [line]
    })
}

/** The same of an overlay. */
async function viewOf(overlay: Overlay, path = ''): Promise<string[]> {
  const lines: string[] = []
  for (const name of await list(overlay, path)) {
    const below = join(path, name)
    const inode = await at(overlay, below)
    const { type, mode, uid, gid } = await overlay.getattr(inode)
    const directory = type === FileType.directory
    lines.push(`${below} ${(type | mode).toString(8)} ${uid}:${gid} ${directory ? '' : await text(overlay, below)}`)
    if (directory) lines.push(...(await viewOf(overlay, below)))
  }
  return lines
}

/** Changes of every kind that such an upper has to tell of. */
async function change(overlay: Overlay): Promise<void> {
  const { root } = overlay
  const d = await at(overlay, 'd')
  await overlay.unlink(ROOT, root, 'f')
  await overlay.unlink(ROOT, d, 'a')
  await overlay.rename(ROOT, d, 'b', root, 'b2')
  await overlay.unlink(ROOT, await at(overlay, 'd/sub'), 's')
  await overlay.rmdir(ROOT, d, 'sub')
  await overlay.unlink(ROOT, await at(overlay, 'e/deep'), 'y')
  await overlay.rmdir(ROOT, await at(overlay, 'e'), 'deep')
  await overlay.unlink(ROOT, await at(overlay, 'e'), 'x')
  await overlay.rmdir(ROOT, root, 'e')
  await overlay.mkdir(ROOT, root, 'e', { mode: 0o750, uid: 7, gid: 8 })
  await overlay.create(ROOT, await at(overlay, 'e'), 'n', MODE)
  await put(overlay, 'e/n', 'new')
  await overlay.unlink(ROOT, root, 'replaced')
  await overlay.mkdir(ROOT, root, 'replaced', MODE)
  await overlay.setattr(ROOT, await at(overlay, 'moved/file'), { mode: 0o600 })
}

/** The same change by a client of fuse-overlayfs. */
function changeOnDisk(dir: string): void {
  unlinkSync(join(dir, 'f'))
  unlinkSync(join(dir, 'd/a'))
  renameSync(join(dir, 'd/b'), join(dir, 'b2'))
  rmSync(join(dir, 'd/sub'), { recursive: true })
  rmSync(join(dir, 'e'), { recursive: true })
  mkdirSync(join(dir, 'e'), { mode: 0o750 })
  chownSync(join(dir, 'e'), 7, 8)
  writeFileSync(join(dir, 'e/n'), 'new')
  unlinkSync(join(dir, 'replaced'))
  mkdirSync(join(dir, 'replaced'))
  rmdirSync(join(dir, 'replaced'))
}

/**
 * Applies a layer to a tree by the rules of the OCI image specification (layer.md, "Applying Changesets"): whiteouts and opaque marks
 * concern what lower layers have, names that begin with the reserved prefix of AUFS are left out.
 */
function applyLayer(tar: string, target: string): void {
  const names = execFileSync('tar', ['-tf', tar], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name !== '' && name !== './')
  const unpacked = join(dirname(tar), 'unpacked')
  mkdirSync(unpacked)
  execFileSync('tar', ['-xpf', tar, '-C', unpacked])
  for (const name of names) {
    const [place, last] = [join(target, dirname(name)), basename(name)]
    const opaque = last === '.wh..wh..opq' && lstatSync(place, { throwIfNoEntry: false })?.isDirectory()
    if (opaque) for (const old of readdirSync(place)) rmSync(join(place, old), { recursive: true })
    else if (last.startsWith('.wh.') && !last.startsWith('.wh..wh.'))
      rmSync(join(place, last.slice(4)), { recursive: true })
  }
  const entries = names.filter((name) => !basename(name).startsWith('.wh.'))
  for (const name of entries) {
    // Only a directory is added to what is there.
    const place = join(target, name.replace(/\/$/, ''))
    const present = lstatSync(place, { throwIfNoEntry: false })
    if (present && !(present.isDirectory() && name.endsWith('/'))) rmSync(place, { recursive: true })
  }
  execFileSync('tar', ['-xpf', tar, '-C', target, '--no-recursion', ...entries])
}

function options({ lower, upper, work }: Layers, more: string): string {
  return `lowerdir=${lower},upperdir=${upper},workdir=${work}${more}`
}

async function seen(t: Test, layers: Layers): Promise<string[]> {
  return await withOverlay(options(layers, ',whiteouts=files,redirect_dir=off'), async (overlay) => {
    await change(overlay)
    const view = await viewOf(overlay)
    const names = ['b2', 'd', 'e', 'e/n', 'kept', 'moved', 'moved/file', 'replaced']
    t.same(
      view.map((line) => line.split(' ')[0]),
      names,
    )
    return view
  })
}

t.test('fuse-overlayfs shows an upper with whiteouts as files as overlayd does', async (t) => {
  await withLayers(async (layers) => {
    const view = await seen(t, layers)
    const { lower, upper } = layers
    t.same(await throughFuse(layers, `lowerdir=${upper}:${lower}`, treeOf), view, 'as a lower')
    const work = join(layers.dir, 'work2')
    mkdirSync(work)
    const writable = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
    const after = await throughFuse(layers, writable, (mounted) => {
      const shown = treeOf(mounted)
      unlinkSync(join(mounted, 'kept'))
      writeFileSync(join(mounted, 'f'), 'again')
      return shown
    })
    t.same(after, view, 'and as its upper')
    await withOverlay(options(layers, ''), async (overlay) => {
      t.notOk((await list(overlay)).includes('kept'), 'what it changed there')
      t.equal(await text(overlay, 'f'), 'again')
    })
  })
})

t.test('overlayd shows an upper that fuse-overlayfs wrote with whiteouts as files', async (t) => {
  await withLayers(async (layers) => {
    const { lower, upper, work } = layers
    const line = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
    const view = await throughFuse(
      layers,
      line,
      (mounted) => {
        changeOnDisk(mounted)
        return treeOf(mounted)
      },
      { FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT: 'y' },
    )
    t.ok(readdirSync(upper).includes('.wh.f'))
    t.same(await withOverlay(`lowerdir=${upper}:${lower},lower_whiteouts=files`, viewOf), view, 'as a lower')
    const fresh = join(layers.dir, 'work2')
    mkdirSync(fresh)
    await withOverlay(`lowerdir=${lower},upperdir=${upper},workdir=${fresh},whiteouts=files`, async (overlay) => {
      t.same(await viewOf(overlay), view, 'and as its upper')
      await overlay.unlink(ROOT, overlay.root, 'kept')
    })
    t.ok(readdirSync(upper).includes('.wh.kept'))
  })
})

t.test('an upper with whiteouts as files, packed by tar, is the OCI layer of the change', async (t) => {
  await withLayers(async (layers) => {
    const view = await seen(t, layers)
    const tar = join(layers.dir, 'layer.tar')
    execFileSync('tar', ['-cf', tar, '-C', layers.upper, '.'])
    const target = join(layers.dir, 'target')
    cpSync(layers.lower, target, { recursive: true, preserveTimestamps: true })
    applyLayer(tar, target)
    t.same(treeOf(target), view)
    await withOverlay(
      `lowerdir=${join(layers.dir, 'unpacked')}:${layers.lower},lower_whiteouts=files`,
      async (overlay) => t.same(await viewOf(overlay), view, 'unpacked it is a lower'),
    )
  })
})
