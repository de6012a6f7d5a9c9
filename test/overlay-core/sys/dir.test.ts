import { lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import {
  linkAt,
  mkdirAt,
  mkdirFor,
  mknodAt,
  readdirFd,
  readlinkAt,
  renameAt,
  rmdirAt,
  symlinkAt,
  unlinkAt,
} from '../../../overlay-core/sys/dir.ts'
import {
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFSOCK,
} from '../../../overlay-core/sys/flags.ts'
import { openAt } from '../../../overlay-core/sys/open.ts'
import { statxAt } from '../../../overlay-core/sys/stat.ts'
import { held, needsRoot, scratchDir } from './scratch-dir.ts'

const EVERY_BYTE = String.fromCharCode(...Array.from({ length: 255 }, (_, i) => (i + 1 === 0x2f ? 0xff : i + 1)))

t.test('directories are made and removed by names of any bytes', async (t) => {
  const { fd } = await scratchDir(t)
  await mkdirAt(fd, EVERY_BYTE, 0o700)
  t.match(await statxAt(fd, EVERY_BYTE), { type: FileType.directory, mode: 0o700 })
  t.same(await readdirFd(fd), [
    { name: EVERY_BYTE, ino: (await statxAt(fd, EVERY_BYTE)).ino, type: FileType.directory },
  ])
  await t.rejects(mkdirAt(fd, EVERY_BYTE, 0o700), { code: 'EEXIST', op: 'mkdirat' })
  const inner = held(t, await openAt(fd, EVERY_BYTE, 0))
  await mkdirAt(inner, 'below', 0o700)
  await t.rejects(rmdirAt(fd, EVERY_BYTE), { code: 'ENOTEMPTY' })
  await t.rejects(async () => await unlinkAt(fd, EVERY_BYTE), { code: 'EISDIR' })
  await rmdirAt(inner, 'below')
  await rmdirAt(fd, EVERY_BYTE)
  await t.rejects(rmdirAt(fd, EVERY_BYTE), { code: 'ENOENT' })
})

t.test('a directory is made with its mode and owner, or not at all if the name is taken', async (t) => {
  const { fd, path } = await scratchDir(t)
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const { uid, gid } = lstatSync(path)
  await mkdirFor(fd, 'made', 0o1775, { uid, gid })
  t.match(await statxAt(fd, 'made'), { type: FileType.directory, mode: 0o1775, uid, gid })
  await t.rejects(mkdirFor(fd, 'made', 0o700, { uid: 1, gid: 1 }), { code: 'EEXIST', op: 'mkdirat' })
  t.match(await statxAt(fd, 'made'), { mode: 0o1775, uid, gid })
})

t.test('a listing is complete and without duplicates, whether it fits into the first reads or not', async (t) => {
  const { fd, path } = await scratchDir(t)
  for (const count of [0, 1, 60, 70, 200]) {
    const names = Array.from({ length: count }, (_, i) => `${i}`.padStart(200, 'n'))
    mkdirSync(`${path}/${count}`)
    for (const name of names) writeFileSync(`${path}/${count}/${name}`, '')
    const dir = held(t, await openAt(fd, `${count}`, 0))
    t.same((await readdirFd(dir)).map(({ name }) => name).toSorted(), names.toSorted())
  }
})

t.test('a whiteout is a character device 0:0 and needs no privilege', async (t) => {
  const { fd } = await scratchDir(t)
  await mknodAt(fd, 'gone', S_IFCHR, 0, 0)
  t.match(await statxAt(fd, 'gone'), { type: FileType.character, mode: 0, rdevMajor: 0, rdevMinor: 0 })
})

t.test('fifos and sockets are made', async (t) => {
  const { fd } = await scratchDir(t)
  await mknodAt(fd, 'fifo', S_IFIFO | 0o600, 0, 0)
  await mknodAt(fd, 'socket', S_IFSOCK | 0o600, 0, 0)
  t.match(await statxAt(fd, 'fifo'), { type: FileType.fifo, mode: 0o600 })
  t.match(await statxAt(fd, 'socket'), { type: FileType.socket })
})

t.test('device numbers keep 12 bits of major and 20 of minor', { skip: needsRoot }, async (t) => {
  const { fd } = await scratchDir(t)
  for (const [major, minor] of [
    [1, 3],
    [259, 70_000],
    [0xfff, 0xfffff],
  ]) {
    await mknodAt(fd, `block-${major}`, S_IFBLK | 0o600, major, minor)
    t.match(await statxAt(fd, `block-${major}`), { type: FileType.block, rdevMajor: major, rdevMinor: minor })
  }
  await t.rejects(mknodAt(fd, 'x', S_IFBLK, 0x1000, 0), { code: 'EINVAL' })
  await t.rejects(mknodAt(fd, 'x', S_IFBLK, 0, 0x100000), { code: 'EINVAL' })
})

t.test('a symlink holds any bytes, up to 4,095 of them', async (t) => {
  const { fd } = await scratchDir(t)
  const longest = Buffer.alloc(4095, 0xff)
  await symlinkAt(longest, fd, 'longest')
  t.ok(longest.equals(await readlinkAt(fd, 'longest')))
  await symlinkAt(Buffer.from('../../\xff \n', 'latin1'), fd, 'odd')
  t.same(Buffer.from(await readlinkAt(fd, 'odd')).toString('latin1'), '../../\xff \n')
  await t.rejects(symlinkAt(Buffer.alloc(4096, 1), fd, 'x'), { code: 'ENAMETOOLONG' })
  await t.rejects(symlinkAt(Buffer.alloc(0), fd, 'x'), { code: 'ENOENT' })
  await t.rejects(symlinkAt(Buffer.from('a\0b'), fd, 'x'), { code: 'EINVAL' })
  await mkdirAt(fd, 'dir', 0o700)
  await t.rejects(readlinkAt(fd, 'dir'), { code: 'EINVAL', op: 'readlinkat' })
})

t.test('a link gives a symlink itself another name', async (t) => {
  const { fd } = await scratchDir(t)
  await symlinkAt(Buffer.from('/nowhere'), fd, 'link')
  await linkAt(fd, 'link', fd, 'again')
  t.match(await statxAt(fd, 'again'), { type: FileType.symlink, nlink: 2, ino: (await statxAt(fd, 'link')).ino })
  await mkdirAt(fd, 'dir', 0o700)
  await t.rejects(linkAt(fd, 'dir', fd, 'x'), { code: 'EPERM' })
  await t.rejects(linkAt(fd, 'link', fd, 'dir'), { code: 'EEXIST', message: /"dir"/ })
})

t.test('rename replaces, refuses to replace, and exchanges', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/a`, '')
  writeFileSync(`${path}/b`, '')
  mkdirSync(`${path}/dir`)
  const [a, dir] = [(await statxAt(fd, 'a')).ino, (await statxAt(fd, 'dir')).ino]
  await t.rejects(renameAt(fd, 'a', fd, 'b', RENAME_NOREPLACE), { code: 'EEXIST', op: 'renameat2' })
  await renameAt(fd, 'a', fd, 'b')
  t.equal((await statxAt(fd, 'b')).ino, a)
  await renameAt(fd, 'b', fd, 'dir', RENAME_EXCHANGE)
  t.equal((await statxAt(fd, 'b')).ino, dir)
  t.equal((await statxAt(fd, 'dir')).ino, a)
  await t.rejects(renameAt(fd, 'dir', fd, 'b'), { code: 'EISDIR' })
  await t.rejects(renameAt(fd, 'b', fd, 'dir'), { code: 'ENOTDIR' })
  await t.rejects(renameAt(fd, 'none', fd, 'x'), { code: 'ENOENT' })
})

t.test('rename leaves a whiteout if requested', { skip: needsRoot }, async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/a`, '')
  await renameAt(fd, 'a', fd, 'b', RENAME_WHITEOUT)
  t.match(await statxAt(fd, 'a'), { type: FileType.character, rdevMajor: 0, rdevMinor: 0 })
})

t.test('no name can lead out of the directory', async (t) => {
  const { fd } = await scratchDir(t)
  const refused = { code: 'EINVAL' }
  for (const name of ['', '.', '..', '../x', 'a/b', '/tmp/x', 'a\0']) {
    await t.rejects(mkdirAt(fd, name, 0o700), refused)
    await t.rejects(mknodAt(fd, name, S_IFIFO, 0, 0), refused)
    await t.rejects(symlinkAt(Buffer.from('x'), fd, name), refused)
    await t.rejects(linkAt(fd, name, fd, 'x'), refused)
    await t.rejects(linkAt(fd, 'x', fd, name), refused)
    await t.rejects(async () => await unlinkAt(fd, name), refused)
    await t.rejects(rmdirAt(fd, name), refused)
    await t.rejects(renameAt(fd, name, fd, 'x'), refused)
    await t.rejects(renameAt(fd, 'x', fd, name), refused)
    // The empty name is the descriptor itself.
    if (name !== '') await t.rejects(readlinkAt(fd, name), refused)
  }
})

t.test('a listing of several buffers is complete and can be repeated', async (t) => {
  const { fd, path } = await scratchDir(t)
  const names = Array.from({ length: 4000 }, (_, i) => `${'long name '.repeat(12)}${i}`)
  for (const name of names) writeFileSync(`${path}/${name}`, '')
  for (let round = 0; round < 2; round++) {
    const entries = await readdirFd(fd)
    t.same(new Set(entries.map((entry) => entry.name)), new Set(names))
    t.equal(entries.length, names.length)
    t.ok(entries.every((entry) => entry.type === FileType.regular))
  }
})

t.test('many listings at once do not mix', async (t) => {
  const { fd, path } = await scratchDir(t)
  const dirs = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      mkdirSync(`${path}/${i}`)
      for (let j = 0; j < 20; j++) writeFileSync(`${path}/${i}/${i}-${j}`, '')
      return held(t, await openAt(fd, `${i}`, 0))
    }),
  )
  const listings = await Promise.all(dirs.map((dir) => readdirFd(dir)))
  listings.forEach((entries, i) => {
    const names = entries.map((entry) => entry.name).sort()
    t.same(names, readdirSync(`${path}/${i}`).sort())
  })
})

t.test('a file has no listing, and a failed one leaks no descriptor', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  const file = held(t, await openAt(fd, 'file', 0))
  const before = readdirSync('/proc/self/fd').length
  await t.rejects(readdirFd(file), { code: 'ENOTDIR' })
  await readdirFd(fd)
  t.equal(readdirSync('/proc/self/fd').length, before)
  t.ok(lstatSync(path).isDirectory())
})
