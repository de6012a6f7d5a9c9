import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FileType } from '../../../overlay-core/index.ts'
import { ALICE, at, errnoOf, isOpaqueOnDisk, list, onDisk, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

const MODE = { mode: 0o755 }

t.test('unlink of a lower file leaves a whiteout and hides the name', async (t) => {
  await withOverlay(t, [{ 'd/file': 'x', 'd/other': 'y' }], async ({ overlay, upper }) => {
    await overlay.unlink(ROOT, await at(overlay, 'd'), 'file')
    t.same(await list(overlay, 'd'), ['other'])
    t.same(onDisk(join(upper, 'd')), ['!file'])
    t.equal(await errnoOf(() => at(overlay, 'd/file')), 'ENOENT')
  })
})

t.test('unlink of a file that is only in the upper leaves nothing', async (t) => {
  await withOverlay(t, [{ 'd/x': '' }], async ({ overlay, upper }) => {
    const dir = await at(overlay, 'd')
    await overlay.create(ROOT, dir, 'new', MODE)
    await overlay.unlink(ROOT, dir, 'new')
    t.same(onDisk(join(upper, 'd')), [])
    t.same(await list(overlay, 'd'), ['x'])
  })
})

t.test('creating over a whiteout replaces it; a directory there is opaque', async (t) => {
  await withOverlay(t, [{ file: 'old', 'dir/old': 'x' }], async ({ overlay, upper }) => {
    await overlay.unlink(ROOT, overlay.root, 'file')
    await overlay.create(ROOT, overlay.root, 'file', MODE)
    t.equal(await text(overlay, 'file'), '')
    await overlay.unlink(ROOT, await at(overlay, 'dir'), 'old')
    await overlay.rmdir(ROOT, overlay.root, 'dir')
    t.same(onDisk(upper), ['!dir', 'file'])
    await overlay.mkdir(ROOT, overlay.root, 'dir', MODE)
    t.same(await list(overlay, 'dir'), [])
    t.ok(isOpaqueOnDisk(join(upper, 'dir')))
  })
})

t.test('rmdir needs a directory that looks empty; whiteouts do not count', async (t) => {
  await withOverlay(t, [{ 'd/a': '1', 'd/b': '2' }], async ({ overlay, upper }) => {
    const dir = await at(overlay, 'd')
    t.equal(await errnoOf(() => overlay.rmdir(ROOT, overlay.root, 'd')), 'ENOTEMPTY')
    await overlay.unlink(ROOT, dir, 'a')
    await overlay.unlink(ROOT, dir, 'b')
    await overlay.rmdir(ROOT, overlay.root, 'd')
    t.same(onDisk(upper), ['!d'])
    t.equal(
      await errnoOf(() => overlay.create(ROOT, dir, 'late', MODE)),
      'ESTALE',
      'a removed directory takes no names',
    )
    t.equal(await errnoOf(() => overlay.rmdir(ROOT, overlay.root, 'd')), 'ENOENT')
  })
})

t.test(
  'directories in a directory without lowers are created unless the name is taken, also by an unknown object, and removed if empty',
  async (t) => {
    await withOverlay(t, [{ f: '' }], async ({ overlay, upper, work }) => {
      const dir = await overlay.mkdir(ROOT, overlay.root, 'new', MODE)
      t.equal(await errnoOf(() => overlay.mkdir(ALICE, dir, 'x', MODE)), 'EACCES', 'others may not')
      await overlay.mkdir(ROOT, dir, 'a', { mode: 0o1750 })
      const { mode, uid } = lstatSync(join(upper, 'new/a'))
      t.same([mode & 0o7777, uid], [0o1750, 0])
      t.equal(await errnoOf(() => overlay.mkdir(ROOT, dir, 'a', MODE)), 'EEXIST')
      // A name that the core does not know yet.
      mkdirSync(join(upper, 'new/unknown'))
      t.equal(await errnoOf(() => overlay.mkdir(ROOT, dir, 'unknown', MODE)), 'EEXIST')
      t.same(onDisk(join(work, 'work')), [], 'nothing is left in the work directory')
      t.equal(await errnoOf(() => overlay.rmdir(ROOT, overlay.root, 'new')), 'ENOTEMPTY')
      await overlay.rmdir(ROOT, dir, 'a')
      t.equal(await errnoOf(() => at(overlay, 'new/a')), 'ENOENT')
      t.same(onDisk(join(upper, 'new')), ['unknown/'])
    })
  },
)

t.test(
  'a whiteout in a directory without lowers: a new directory replaces it, and it does not keep the directory',
  async (t) => {
    await withOverlay(t, [{ f: '' }], async ({ overlay, upper }) => {
      const dir = await overlay.mkdir(ROOT, overlay.root, 'new', MODE)
      for (const name of ['gone', 'old']) execFileSync('mknod', [join(upper, 'new', name), 'c', '0', '0'])
      await overlay.mkdir(ROOT, dir, 'gone', MODE)
      t.ok(isOpaqueOnDisk(join(upper, 'new/gone')))
      await overlay.rmdir(ROOT, dir, 'gone')
      await overlay.rmdir(ROOT, overlay.root, 'new')
      t.same(onDisk(upper), [])
    })
  },
)

t.test('operations on the wrong type fail as in the kernel', async (t) => {
  await withOverlay(t, [{ 'd/x': '', f: '' }], async ({ overlay }) => {
    t.equal(await errnoOf(() => overlay.unlink(ROOT, overlay.root, 'd')), 'EISDIR')
    t.equal(await errnoOf(() => overlay.rmdir(ROOT, overlay.root, 'f')), 'ENOTDIR')
    t.equal(await errnoOf(() => overlay.mkdir(ROOT, overlay.root, 'f', MODE)), 'EEXIST')
    t.equal(await errnoOf(() => overlay.create(ROOT, overlay.root, 'd', MODE)), 'EEXIST')
    t.equal(await errnoOf(async () => overlay.lookup(ROOT, await at(overlay, 'f'), 'x')), 'ENOTDIR')
    t.equal(await errnoOf(async () => overlay.link(ROOT, await at(overlay, 'd'), overlay.root, 'd2')), 'EPERM')
    const buffer = Buffer.alloc(1)
    t.equal(await errnoOf(async () => overlay.read(ROOT, await at(overlay, 'd'), buffer, 0, 1, 0)), 'EISDIR')
  })
})

t.test('refused operations change nothing in the upper', async (t) => {
  await withOverlay(t, [{ 'd/x': '' }], async ({ overlay, upper }) => {
    const dir = await at(overlay, 'd')
    t.equal(await errnoOf(() => overlay.symlink(ROOT, dir, 'empty', Buffer.alloc(0), MODE)), 'ENOENT')
    t.same(onDisk(upper), [], 'its directory is not copied up')
  })
})

t.test('a read-only mount with an upper removes nothing, lower or upper', async (t) => {
  await withOverlay(
    t,
    [{ lower: '', 'hollow/': '' }],
    async (fixture) => {
      const overlay = await fixture.remount(',ro')
      for (const name of ['lower', 'upper']) {
        t.equal(await errnoOf(() => overlay.unlink(ROOT, overlay.root, name)), 'EROFS', name)
      }
      t.equal(await errnoOf(() => overlay.rmdir(ROOT, overlay.root, 'hollow')), 'EROFS')
      t.same(onDisk(fixture.upper), ['upper'])
    },
    { upper: { upper: '' } },
  )
})

t.test('special files and symlinks with any content are created as requested', async (t) => {
  await withOverlay(t, [{ 'open/': { mode: 0o777 } }], async ({ overlay, upper }) => {
    const target = Buffer.from('a\xff/..//b', 'latin1')
    const link = await overlay.symlink(ROOT, overlay.root, 'link', target, { mode: 0o777 })
    t.same(Buffer.from(await overlay.readlink(ROOT, link)), target)
    await overlay.mknod(ROOT, overlay.root, 'fifo', FileType.fifo, { major: 0, minor: 0 }, { mode: 0o600 })
    await overlay.mknod(ROOT, overlay.root, 'null', FileType.character, { major: 1, minor: 3 }, { mode: 0o666 })
    t.ok(lstatSync(join(upper, 'fifo')).isFIFO())
    const attr = await overlay.getattr(await at(overlay, 'null'))
    t.same([attr.rdevMajor, attr.rdevMinor, attr.mode], [1, 3, 0o666])
    const zero = { major: 0, minor: 0 }
    t.equal(
      await errnoOf(() => overlay.mknod(ROOT, overlay.root, 'wh', FileType.character, zero, MODE)),
      'EPERM',
      'no client makes a whiteout',
    )
    const open = await at(overlay, 'open')
    t.equal(await errnoOf(() => overlay.mknod(ALICE, open, 'n', FileType.block, zero, MODE)), 'EPERM')
    t.equal(
      await errnoOf(() => overlay.symlink(ROOT, overlay.root, 'l2', Buffer.alloc(5000, 97), MODE)),
      'ENAMETOOLONG',
    )
  })
})

t.test('a new object belongs to its creator; a setgid directory passes on its group', async (t) => {
  const prepare = ([lower]: readonly string[]) => {
    execFileSync('chgrp', ['4242', join(lower as string, 'team')])
    execFileSync('chmod', ['2777', join(lower as string, 'team')])
  }
  await withOverlay(
    t,
    [{ 'open/': { mode: 0o777 }, 'team/': '' }],
    async ({ overlay }) => {
      const plain = await overlay.getattr(await overlay.create(ALICE, await at(overlay, 'open'), 'f', { mode: 0o644 }))
      t.same([plain.uid, plain.gid, plain.mode], [1000, 1000, 0o644])
      const file = await overlay.getattr(await overlay.create(ALICE, await at(overlay, 'team'), 'f', { mode: 0o2755 }))
      t.same([file.uid, file.gid, file.mode], [1000, 4242, 0o755], 'setgid of a strange group is dropped')
      const dir = await overlay.getattr(await overlay.mkdir(ALICE, await at(overlay, 'team'), 'd', { mode: 0o755 }))
      t.same([dir.gid, dir.mode], [4242, 0o2755])
    },
    { prepare },
  )
})

t.test('permission bits, the sticky bit and ownership are enforced', async (t) => {
  const lowers = [
    { 'closed/f': 'x', 'sticky/': { mode: 0o1777 }, 'sticky/rootfile': '', secret: { content: 's', mode: 0o600 } },
  ]
  await withOverlay(t, lowers, async ({ overlay }) => {
    const closed = await at(overlay, 'closed')
    t.equal(await errnoOf(() => overlay.create(ALICE, closed, 'g', MODE)), 'EACCES')
    t.equal(await errnoOf(() => overlay.unlink(ALICE, closed, 'f')), 'EACCES')
    t.equal(await errnoOf(async () => overlay.unlink(ALICE, await at(overlay, 'sticky'), 'rootfile')), 'EPERM')
    t.equal(await errnoOf(() => text(overlay, 'secret', ALICE)), 'EACCES')
    t.equal(await errnoOf(async () => overlay.setattr(ALICE, await at(overlay, 'secret'), { mode: 0o666 })), 'EPERM')
    t.equal(await errnoOf(async () => overlay.setattr(ALICE, await at(overlay, 'secret'), { uid: 1000 })), 'EPERM')
    t.equal(await overlay.access(ALICE, closed, 7), 5)
    t.equal(await overlay.access(ROOT, await at(overlay, 'secret'), 7), 6, 'root may not execute what nobody may')
  })
})
