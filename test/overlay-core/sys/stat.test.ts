import { lstatSync, statfsSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { truncateFd, utimesAt } from '../../../overlay-core/sys/attr.ts'
import { symlinkAt } from '../../../overlay-core/sys/dir.ts'
import { O_PATH, O_RDWR } from '../../../overlay-core/sys/flags.ts'
import { closeSync, openAt } from '../../../overlay-core/sys/open.ts'
import { statfsFd, statxAt, statxFd } from '../../../overlay-core/sys/stat.ts'
import { held, scratchDir } from './scratch-dir.ts'

t.test('both statx calls return what lstat returns', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, Buffer.alloc(70_000, 1), { mode: 0o640 })
  const expected = lstatSync(`${path}/file`, { bigint: true })
  const byName = await statxAt(fd, 'file')
  const byFd = statxFd(held(t, await openAt(fd, 'file', O_PATH)))
  t.same(byFd, byName)
  t.match(byName, {
    type: FileType.regular,
    mode: 0o640,
    nlink: 1,
    uid: Number(expected.uid),
    gid: Number(expected.gid),
    size: 70_000,
    blocks: Number(expected.blocks),
    ino: Number(expected.ino),
    inoHi: Number(expected.ino >> 32n),
    inoLo: Number(expected.ino & 0xffffffffn),
  })
  const ns = ({ sec, nsec }: { sec: number; nsec: number }) => BigInt(sec) * 1_000_000_000n + BigInt(nsec)
  t.equal(ns(byName.mtime), expected.mtimeNs)
  t.equal(ns(byName.atime), expected.atimeNs)
  t.equal(ns(byName.ctime), expected.ctimeNs)
  if (byName.btime !== undefined) t.equal(ns(byName.btime), expected.birthtimeNs)
  // The C library's packing of a device number (gnu_dev_makedev).
  t.equal(
    (byName.devMajor & 0xfff) * 256 + (byName.devMinor & 0xff) + (byName.devMinor >>> 8) * 2 ** 20,
    Number(expected.dev),
  )
  t.equal(byName.mountId, statxFd(fd).mountId)
  t.ok(byName.mountId > 0)
})

t.test('the attributes are those of a symlink itself', async (t) => {
  const { fd } = await scratchDir(t)
  await symlinkAt(Buffer.from('/etc/passwd'), fd, 'link')
  t.match(await statxAt(fd, 'link'), { type: FileType.symlink, size: 11 })
})

t.test('a sparse file larger than 32 bits keeps its size', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  const file = held(t, await openAt(fd, 'file', O_RDWR))
  await truncateFd(file, 2 ** 40 + 5)
  t.match(statxFd(file), { size: 2 ** 40 + 5, blocks: 0 })
})

t.test('times before the epoch and beyond 2038 keep their nanoseconds', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await utimesAt(fd, 'file', { sec: -1, nsec: 999_999_999 }, { sec: 2 ** 32 + 1, nsec: 1 })
  t.match(await statxAt(fd, 'file'), {
    atime: { sec: -1, nsec: 999_999_999 },
    mtime: { sec: 2 ** 32 + 1, nsec: 1 },
  })
})

t.test('only one component is accepted', async (t) => {
  const { fd } = await scratchDir(t)
  for (const name of ['', '.', '..', 'a/b', '/etc', 'a\0b'])
    await t.rejects(statxAt(fd, name), { code: 'EINVAL' }, name)
  await t.rejects(statxAt(fd, 'none'), { code: 'ENOENT', op: 'statx' })
})

t.test('a closed descriptor has no attributes', async (t) => {
  const { fd } = await scratchDir(t)
  const other = await openAt(fd, '.', O_PATH)
  closeSync(other)
  t.throws(() => statxFd(other), { code: 'EBADF', op: 'statx' })
})

t.test('statfs returns what node:fs returns', async (t) => {
  const { fd, path } = await scratchDir(t)
  const expected = statfsSync(path)
  t.match(await statfsFd(fd), {
    type: expected.type,
    blockSize: expected.bsize,
    blocks: expected.blocks,
    files: expected.files,
    nameMax: 255,
  })
  const { blocksFree, blocksAvailable, filesFree } = await statfsFd(fd)
  t.ok(blocksFree >= blocksAvailable && blocksFree <= expected.blocks && filesFree <= expected.files)
})
