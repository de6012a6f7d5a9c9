import { statSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { chmodAt, chownAt, fallocate, truncateFd, utimesAt } from '../../../overlay-core/sys/attr.ts'
import { symlinkAt } from '../../../overlay-core/sys/dir.ts'
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
} from '../../../overlay-core/sys/flags.ts'
import { openAt } from '../../../overlay-core/sys/open.ts'
import { statxAt, statxFd } from '../../../overlay-core/sys/stat.ts'
import { held, needsRoot, scratchDir } from './scratch-dir.ts'

t.test('the mode is set by name and through a held descriptor', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await chmodAt(fd, 'file', 0o4751)
  t.equal((await statxAt(fd, 'file')).mode, 0o4751)
  const file = held(t, await openAt(fd, 'file', O_PATH))
  await chmodAt(file, '', 0o600)
  t.equal(statxFd(file).mode, 0o600)
})

t.test("the mode of a symlink's target is never changed", async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '', { mode: 0o600 })
  await symlinkAt(Buffer.from('file'), fd, 'link')
  await t.rejects(chmodAt(fd, 'link', 0o777), { code: 'EOPNOTSUPP' })
  const link = held(t, await openAt(fd, 'link', O_PATH | O_NOFOLLOW))
  await t.rejects(chmodAt(link, '', 0o777))
  t.equal(statSync(`${path}/file`).mode & 0o7777, 0o600)
})

t.test('owner and group can be set separately, also those of a symlink', { skip: needsRoot }, async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await symlinkAt(Buffer.from('file'), fd, 'link')
  await chownAt(fd, 'link', 1234, -1)
  await chownAt(held(t, await openAt(fd, 'link', O_PATH | O_NOFOLLOW)), '', -1, 0xfffffffe)
  t.match(await statxAt(fd, 'link'), { uid: 1234, gid: 0xfffffffe })
  t.match(await statxAt(fd, 'file'), { uid: 0, gid: 0 })
})

t.test('times are set to the nanosecond, set to now, or left unchanged', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await symlinkAt(Buffer.from('file'), fd, 'link')
  const past = { sec: -2, nsec: 123_456_789 }
  await utimesAt(fd, 'file', past, past)
  await utimesAt(fd, 'file', undefined, { sec: 0, nsec: 0 })
  t.match(await statxAt(fd, 'file'), { atime: past, mtime: { sec: 0, nsec: 0 } })
  const started = Math.floor(Date.now() / 1000) - 1
  await utimesAt(held(t, await openAt(fd, 'file', O_PATH)), '', 'now', undefined)
  const { atime, mtime } = await statxAt(fd, 'file')
  t.ok(atime.sec >= started)
  t.same(mtime, { sec: 0, nsec: 0 })
  await utimesAt(fd, 'link', past, past)
  t.match(await statxAt(fd, 'link'), { atime: past, mtime: past })
  t.ok((await statxAt(fd, 'file')).atime.sec >= started, 'the target of the symlink is left')
})

t.test('nanosecond values with a special meaning in the kernel are refused', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  for (const nsec of [0x3fffffff, 0x3ffffffe, 1e9, -1, Number.NaN]) {
    await t.rejects(utimesAt(fd, 'file', { sec: 1, nsec }, undefined), { code: 'EINVAL', op: 'utimensat' })
  }
  await t.rejects(utimesAt(fd, 'file', { sec: 2 ** 60, nsec: 0 }, undefined), { code: 'EINVAL' })
})

t.test('a file is truncated, extended and has holes punched', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, Buffer.alloc(64 * 1024, 1))
  const file = held(t, await openAt(fd, 'file', O_RDWR))
  const full = statxFd(file).blocks
  await fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 32 * 1024)
  t.match(statxFd(file), { size: 64 * 1024 })
  t.ok(statxFd(file).blocks < full)
  await truncateFd(file, 5)
  t.equal(statxFd(file).size, 5)
  await fallocate(file, 0, 0, 10_000)
  t.equal(statxFd(file).size, 10_000)
  await t.rejects(truncateFd(file, -1), { code: 'EINVAL' })
  await t.rejects(truncateFd(file, 2 ** 62), { code: 'EFBIG' })
  await t.rejects(truncateFd(held(t, await openAt(fd, 'file', 0)), 0), { code: 'EINVAL' })
})
