import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileType, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { toOldForm } from '../../helpers/old-files.ts'
import { at, build, errnoOf, list, put, ROOT, type Tree, text } from '../../helpers/overlay.ts'
import { type MountedStorage, mountStorage, type StorageKind } from '../../helpers/storage.ts'

// File systems of six kinds are mounted, some of them by programs.
t.setTimeout(120_000)

const MODE = { mode: 0o755 }

/** What a storage can do; all else has to be the same on each. */
interface Expected {
  readonly whiteouts: 'device' | 'files'
  readonly xattrs: 'none' | 'EOPNOTSUPP'
  readonly symlinks: 'none' | 'ENOSYS'
  readonly links: 'none' | 'EPERM'
  /** It keeps its content when it is unmounted. */
  readonly lasting: boolean
}

const STORAGES: Record<StorageKind, Expected> = {
  tmpfs: { whiteouts: 'device', xattrs: 'none', symlinks: 'none', links: 'none', lasting: false },
  ext2: { whiteouts: 'device', xattrs: 'none', symlinks: 'none', links: 'none', lasting: true },
  xfs: { whiteouts: 'device', xattrs: 'none', symlinks: 'none', links: 'none', lasting: true },
  ramfs: { whiteouts: 'files', xattrs: 'EOPNOTSUPP', symlinks: 'none', links: 'none', lasting: false },
  bindfs: { whiteouts: 'files', xattrs: 'EOPNOTSUPP', symlinks: 'none', links: 'none', lasting: true },
  exfat: { whiteouts: 'files', xattrs: 'EOPNOTSUPP', symlinks: 'ENOSYS', links: 'EPERM', lasting: true },
}

const LOWER: Tree = {
  'docs/guide': 'guide',
  'docs/old/a': 'a',
  'docs/old/b': 'b',
  'src/main': 'main',
  'src/lib/x': 'x',
  program: { content: 'program', mode: 0o755 },
  gone: 'gone',
  'replaced/below': 'below',
  styled: 'styled',
}

/** A lower on the machine's own disk, and upper and workdir on the storage. */
async function withStorage(
  kind: StorageKind,
  test: (storage: MountedStorage, options: string, dir: string) => Promise<void>,
): Promise<void> {
  const storage = await mountStorage(kind)
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-storage-'))
  try {
    const lower = build(join(dir, 'lower'), LOWER)
    execFileSync('setfattr', ['-n', 'user.style', '-v', 'bold', join(lower, 'styled')])
    chownSync(join(lower, 'program'), 1000, 2000)
    chmodSync(join(lower, 'program'), 0o4750)
    const [upper, work] = [join(storage.dir, 'upper'), join(storage.dir, 'work')]
    mkdirSync(upper)
    mkdirSync(work)
    await test(storage, `lowerdir=${lower},upperdir=${upper},workdir=${work}`, dir)
  } finally {
    rmSync(dir, { recursive: true })
    await storage.unmount()
  }
}

async function withMounted(options: string, work: (overlay: Overlay) => Promise<void>): Promise<void> {
  const overlay = await mount(parseOptions(options))
  try {
    await work(overlay)
  } finally {
    await overlay.unmount()
  }
}

/** All that a client sees of each object; `ids` with what it is known by. */
async function view(overlay: Overlay, ids: boolean, path = ''): Promise<string[]> {
  const lines: string[] = []
  for (const name of await list(overlay, path)) {
    const below = join(path, name)
    const inode = await at(overlay, below)
    const { uid, gid, mode, mtime, rdevMajor, rdevMinor } = await overlay.getattr(inode)
    const content = inode.type === FileType.regular ? await text(overlay, below) : `${rdevMajor}:${rdevMinor}`
    const id = ids ? ` ${inode.key}.${inode.generation}` : ''
    lines.push(`${below} ${inode.type} ${uid}:${gid} ${mode.toString(8)} ${mtime.sec} ${content}${id}`)
    if (inode.type === FileType.directory) lines.push(...(await view(overlay, ids, below)))
  }
  return lines
}

/** Changes of every kind; what a storage may refuse is compared with `expected`. */
async function change(t: Test, overlay: Overlay, expected: Expected): Promise<void> {
  const { root } = overlay
  await overlay.unlink(ROOT, root, 'gone')
  await put(overlay, 'docs/guide', 'GUIDE')
  await overlay.setattr(ROOT, await at(overlay, 'program'), { mode: 0o2711, uid: 7, gid: 8 })
  await overlay.setattr(ROOT, await at(overlay, 'program'), { mtime: { sec: 1_111_111_110, nsec: 0 } })
  await overlay.setattr(ROOT, await at(overlay, 'src'), { uid: 9, mode: 0o1770 })
  await overlay.rename(ROOT, root, 'src', await at(overlay, 'docs'), 'source')
  await overlay.rename(ROOT, await at(overlay, 'docs/source'), 'main', root, 'gone')
  await overlay.unlink(ROOT, await at(overlay, 'replaced'), 'below')
  await overlay.rmdir(ROOT, root, 'replaced')
  await overlay.mkdir(ROOT, root, 'replaced', { mode: 0o700, uid: 5, gid: 6 })
  for (const name of ['a', 'b']) await overlay.unlink(ROOT, await at(overlay, 'docs/old'), name)
  await overlay.rename(ROOT, root, 'replaced', await at(overlay, 'docs'), 'old')
  await overlay.create(ROOT, root, 'new', { mode: 0o640, uid: 1000, gid: 1000 })
  await overlay.rename(ROOT, root, 'new', root, 'program', { exchange: true })
  const staged = await overlay.stage(ROOT)
  await staged.append([Buffer.from('restyled')])
  await staged.publish({ dir: root, name: 'styled', mode: 0o644, durable: true })
  const none = { major: 0, minor: 0 }
  await overlay.mknod(ROOT, root, 'pipe', FileType.fifo, none, { mode: 0o600, uid: 3 })
  await overlay.mknod(ROOT, root, 'null', FileType.character, { major: 1, minor: 3 }, { mode: 0o666 })
  await overlay.setProtocolData(ROOT, await at(overlay, 'docs/guide'), 'test', Buffer.from('noted'))
  const target = Buffer.from('docs')
  t.equal(await errnoOf(() => overlay.symlink(ROOT, root, 'link', target, MODE)), expected.symlinks, 'symlink')
  const file = await at(overlay, 'docs/guide')
  t.equal(await errnoOf(() => overlay.link(ROOT, file, root, 'linked')), expected.links, 'link')
  const set = () => overlay.setxattr(ROOT, file, 'user.mine', Buffer.from('1'))
  t.equal(await errnoOf(set), expected.xattrs, 'setxattr')
}

async function checkChanged(t: Test, overlay: Overlay): Promise<void> {
  t.same(await list(overlay, 'docs'), ['guide', 'old', 'source'])
  t.same([await list(overlay, 'docs/source'), await list(overlay, 'docs/old')], [['lib'], []])
  t.equal(await text(overlay, 'docs/source/lib/x'), 'x', 'what lies below a renamed directory is still found')
  t.same([await text(overlay, 'gone'), await text(overlay, 'docs/guide')], ['main', 'GUIDE'])
  t.equal(await text(overlay, 'styled'), 'restyled', 'an attribute that the storage cannot hold is no reason to refuse')
  const program = await overlay.getattr(await at(overlay, 'new'))
  t.same([program.uid, program.gid, program.mode], [7, 8, 0o2711])
  t.equal(program.mtime.sec, 1_111_111_110)
  const source = await overlay.getattr(await at(overlay, 'docs/source'))
  t.same([source.uid, source.mode], [9, 0o1770])
  const old = await overlay.getattr(await at(overlay, 'docs/old'))
  t.same([old.uid, old.gid, old.mode], [5, 6, 0o700])
  const device = await overlay.getattr(await at(overlay, 'null'))
  t.same([device.type, device.rdevMajor, device.rdevMinor, device.mode], [FileType.character, 1, 3, 0o666])
  t.equal((await at(overlay, 'pipe')).type, FileType.fifo)
  const note = await overlay.getProtocolData(ROOT, await at(overlay, 'docs/guide'), 'test')
  t.equal(note && Buffer.from(note).toString(), 'noted')
}

for (const [kind, expected] of Object.entries(STORAGES) as [StorageKind, Expected][]) {
  t.test(`an upper on ${kind} takes every change and is the same after a restart`, async (t) => {
    await withStorage(kind, async (storage, options, dir) => {
      const [upper, work] = [join(storage.dir, 'upper'), join(storage.dir, 'work')]
      let seen: string[] = []
      let bare: string[] = []
      await withMounted(options, async (overlay) => {
        const guide = (await at(overlay, 'docs/guide')).key
        await change(t, overlay, expected)
        await checkChanged(t, overlay)
        t.equal((await at(overlay, 'docs/guide')).key, guide, 'copy-up has changed no identity')
        seen = await view(overlay, true)
        bare = await view(overlay, false)
      })
      t.equal(existsSync(join(upper, '.wh.src')), expected.whiteouts === 'files')
      t.equal(existsSync(join(upper, '.wh..wh.overlayd')), expected.whiteouts === 'files')
      t.same(readdirSync(join(work, 'work')), [])
      if (expected.lasting) await storage.cycle()
      for (const written of ['by this version', 'by an earlier one']) {
        if (written === 'by an earlier one') toOldForm(work)
        await withMounted(options, async (overlay) => {
          t.same(await view(overlay, true), seen, written)
          await checkChanged(t, overlay)
        })
      }

      const copy = join(dir, 'copy')
      mkdirSync(copy)
      execFileSync('cp', ['-a', upper, work, copy])
      const there = `${options.split(',')[0]},upperdir=${join(copy, 'upper')},workdir=${join(copy, 'work')}`
      await withMounted(there, async (overlay) => {
        t.same(await view(overlay, false), bare, 'a copy on better storage shows the same, in the same form')
        await overlay.unlink(ROOT, overlay.root, 'program')
        t.equal(existsSync(join(copy, 'upper/.wh.program')), expected.whiteouts === 'files')
      })
    })
  })
}

t.test('a whiteout format that the storage does not support is refused, and nothing is created', async (t) => {
  await withStorage('ramfs', async (storage, options) => {
    await t.rejects(mount(parseOptions(`${options},whiteouts=device`)), {
      option: 'whiteouts',
      message: /cannot store whiteouts as devices \(no extended attributes\); use whiteouts=files/,
    })
    t.same(readdirSync(join(storage.dir, 'upper')), [])
  })
})

t.test('a full storage refuses changes and loses nothing', async (t) => {
  await withStorage('tmpfs', async (_storage, options) => {
    await withMounted(`${options},whiteouts=files`, async (overlay) => {
      await overlay.create(ROOT, overlay.root, 'big', MODE)
      const chunk = Buffer.alloc(1024 * 1024, 'x')
      const big = await at(overlay, 'big')
      let code = 'none'
      for (let i = 0; code === 'none' && i < 100; i++) {
        code = await errnoOf(() => overlay.write(ROOT, big, chunk, i * chunk.length, 'unstable'))
      }
      t.equal(code, 'ENOSPC')
      await overlay.unlink(ROOT, overlay.root, 'gone')
      t.equal(await errnoOf(() => at(overlay, 'gone')), 'ENOENT', 'hiding a name needs no room')
      await overlay.setattr(ROOT, big, { size: 0 })
      await overlay.unlink(ROOT, overlay.root, 'big')
      await put(overlay, 'docs/guide', 'again')
    })
    await withMounted(options, async (overlay) => {
      t.same(await list(overlay), ['docs', 'program', 'replaced', 'src', 'styled'])
      t.equal(await text(overlay, 'docs/guide'), 'again')
    })
  })
})
