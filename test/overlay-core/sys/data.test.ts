import { closeSync as nodeCloseSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { truncateFd } from '../../../overlay-core/sys/attr.ts'
import {
  copyFileRange,
  fdatasync,
  fsync,
  pread,
  preadAside,
  preadNowait,
  pwrite,
  pwritev,
  reflink,
  seekData,
  seekHole,
  syncfs,
  writeOut,
} from '../../../overlay-core/sys/data.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { O_CREAT, O_DIRECTORY, O_PATH, O_RDONLY, O_RDWR } from '../../../overlay-core/sys/flags.ts'
import { openAt } from '../../../overlay-core/sys/open.ts'
import { statxFd } from '../../../overlay-core/sys/stat.ts'
import { held, scratchDir } from './scratch-dir.ts'

const EIO = 5
const ENOSYS = 38

t.test('a range of a file is written out, and the call fails with the errors of the disk', async (t) => {
  const { fd } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  await pwrite(file, Buffer.from('0123456789'), 0)
  await writeOut(file, 0, 10)
  setFaultPoints({ before: (op) => (op === 'sync_file_range' ? EIO : 0), after: () => undefined })
  await t.rejects(writeOut(file, 0, 10), { code: 'EIO' })
  setFaultPoints({ before: (op) => (op === 'sync_file_range' ? ENOSYS : 0), after: () => undefined })
  await writeOut(file, 0, 10)
  setFaultPoints(undefined)
})

t.test('recently written data is read from the page cache synchronously', async (t) => {
  const { fd } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  await pwrite(file, Buffer.from('0123456789'), 0)
  const buffer = Buffer.alloc(20, '-')
  if (preadNowait(file, Buffer.alloc(1), 0, 1, 0) === -1) return t.comment('the file system cannot tell (tmpfs)')
  t.equal(preadNowait(file, buffer.subarray(5), 2, 4, 3), 4)
  t.equal(buffer.toString(), '-------3456---------')
  t.equal(preadNowait(file, buffer, 0, 20, 0), 10, 'short at the end')
  t.equal(preadNowait(file, buffer, 0, 20, 10), 0, 'nothing behind the end')
  t.equal(preadNowait(file, buffer, 0, 20, 2 ** 63), 0)
  t.equal(preadNowait(file, buffer, 20, 0, 0), 0)
  const small = new Uint8Array(3)
  t.equal(preadNowait(file, small, 0, 3, 7), 3)
  t.same(small, Buffer.from('789'))
})

t.test('a read never writes outside its buffer', async (t) => {
  const { fd } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  await pwrite(file, Buffer.alloc(100, 1), 0)
  const buffer = new Uint8Array(8)
  for (const [offset, length, position] of [
    [0, 9, 0],
    [-1, 4, 0],
    [8, 1, 0],
    [0, -1, 0],
    [Number.NaN, 1, 0],
    [0, 1, -1],
  ]) {
    t.throws(() => preadNowait(file, buffer, offset, length, position), { code: 'EINVAL' })
    if (position === 0) await t.rejects(pread(file, buffer, offset, length, position), { code: 'EINVAL' })
  }
  const read = preadNowait(file, buffer, 0, 8, 0)
  t.ok(read === 8 || read === -1)
  structuredClone(buffer.buffer, { transfer: [buffer.buffer] })
  t.throws(() => preadNowait(file, buffer, 0, 8, 0), { code: 'EINVAL' }, 'a buffer given away is not written to')
})

t.test('a read that would wait returns -1, and an invalid one throws', async (t) => {
  const { fd } = await scratchDir(t)
  const buffer = new Uint8Array(8)
  const pipe = openSync('/proc/self/status', 'r')
  t.equal(preadNowait(pipe, buffer, 0, 8, 0), -1, 'a file system that cannot tell')
  nodeCloseSync(pipe)
  t.throws(() => preadNowait(fd, buffer, 0, 8, 0), { code: 'EBADF' }, 'O_PATH')
  t.throws(() => preadNowait(1_000_000, buffer, 0, 8, 0), { code: 'EBADF' })
})

t.test(
  'reads off the event loop give the same data on a thread of our own, in the pool, and if the page cache cannot tell',
  async (t) => {
    const { fd } = await scratchDir(t)
    const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
    await pwrite(file, Buffer.from('0123456789'), 0)
    const buffer = Buffer.alloc(20, '-')
    // The threads start after some hundred calls.
    for (let i = 0; i < 600; i++) {
      const own = Buffer.alloc(4)
      if ((await preadAside(file, own, 1, 3, i % 8)) !== Math.min(3, 10 - (i % 8))) return t.fail('a short read')
      if (own[1] !== 0x30 + (i % 8) || own[0] !== 0) return t.fail('other bytes')
    }
    t.equal(await preadAside(file, buffer.subarray(5), 2, 4, 3), 4)
    t.equal(buffer.toString(), '-------3456---------')
    t.equal(await preadAside(file, buffer, 0, 20, 0), 10, 'short at the end')
    t.equal(await preadAside(file, buffer, 0, 20, 10), 0)
    t.equal(await preadAside(file, buffer, 0, 20, 2 ** 63), 0)
    const proc = openSync('/proc/self/comm', 'r')
    t.ok((await preadAside(proc, buffer, 0, 20, 0)) > 0, 'a file system without RWF_NOWAIT')
    nodeCloseSync(proc)
    await t.rejects(preadAside(file, buffer, 0, 21, 0), { code: 'EINVAL' })
    await t.rejects(preadAside(file, buffer, -1, 4, 0), { code: 'EINVAL' })
    await t.rejects(preadAside(fd, buffer, 0, 4, 0), { code: 'EBADF' })
  },
)

t.test('reads and writes in the pool return what the kernel returns', async (t) => {
  const { fd, path } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  await pwrite(file, Buffer.from('abc'), 5)
  await pwrite(file, Buffer.alloc(0), 100)
  await pwritev(file, [Buffer.from('1'), Buffer.alloc(0), Buffer.from('23')], 8)
  await pwritev(file, [], 50)
  await pwritev(file, [Buffer.alloc(0)], 50)
  t.equal(readFileSync(`${path}/file`, 'latin1'), '\0\0\0\0\0abc123')
  const buffer = Buffer.alloc(10, '-')
  t.equal(await pread(file, buffer, 1, 3, 5), 3)
  t.equal(buffer.toString(), '-abc------')
  t.equal(await pread(file, buffer, 0, 10, 11), 0)
  t.equal(await pread(file, buffer, 0, 10, 2 ** 60), 0)
  const readOnly = held(t, await openAt(fd, 'file', O_RDONLY))
  await t.rejects(pwrite(readOnly, Buffer.from('x'), 0), { code: 'EBADF', op: 'pwrite' })
  await t.rejects(pwritev(readOnly, [Buffer.from('x')], 0), { code: 'EBADF', op: 'pwritev' })
  await t.rejects(pwrite(file, Buffer.from('x'), 2 ** 60), { code: 'EFBIG' })
  await t.rejects(pwritev(file, [Buffer.from('x')], 2 ** 60), { code: 'EFBIG' })
  await t.rejects(pread(fd, buffer, 0, 10, 0), { code: 'EBADF', op: 'pread' })
})

t.test('more pieces than one system call takes are all written', async (t) => {
  const { fd, path } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  const pieces = Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i},`))
  await pwritev(file, pieces, 0)
  t.ok(Buffer.concat(pieces).equals(readFileSync(`${path}/file`)))
})

t.test('a full device reports ENOSPC', async (t) => {
  const full = openSync('/dev/full', 'r+')
  await t.rejects(pwrite(full, Buffer.from('x'), 0), { code: 'ENOSPC' })
  await t.rejects(pwritev(full, [Buffer.from('x')], 0), { code: 'ENOSPC' })
  nodeCloseSync(full)
})

t.test('files, directories and their file system are made durable', async (t) => {
  const { fd } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  await fsync(file)
  await fdatasync(file)
  const directory = held(t, await openAt(fd, '.', O_DIRECTORY))
  await fsync(directory)
  await syncfs(directory)
  await t.rejects(fsync(held(t, await openAt(fd, 'file', O_PATH))), { code: 'EBADF', op: 'fsync' })
  await t.rejects(fdatasync(1_000_000), { code: 'EBADF' })
})

t.test('holes and the data between them are found', async (t) => {
  const { fd } = await scratchDir(t)
  const file = held(t, await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  const mib = 1024 * 1024
  await truncateFd(file, 3 * mib)
  t.equal(await seekData(file, 0), -1)
  await pwrite(file, Buffer.alloc(4096, 1), mib)
  t.equal(await seekData(file, 0), mib)
  t.equal(await seekHole(file, 0), 0)
  t.equal(await seekHole(file, mib), mib + 4096)
  t.equal(await seekData(file, mib + 4096), -1)
  t.equal(await seekHole(file, 3 * mib), -1)
})

t.test('the kernel copies ranges between files', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/from`, 'abcdefghij')
  const from = held(t, await openAt(fd, 'from', O_RDONLY))
  const to = held(t, await openAt(fd, 'to', O_CREAT | O_RDWR, 0o600))
  t.equal(await copyFileRange(from, 2, to, 1, 5), 5)
  t.equal(readFileSync(`${path}/to`, 'latin1'), '\0cdefg')
  t.equal(await copyFileRange(from, 10, to, 0, 5), 0, 'the end of the source')
  await t.rejects(copyFileRange(from, 0, from, 0, 5), { code: 'EBADF', op: 'copy_file_range' })
  await t.rejects(copyFileRange(from, 0.5, to, 0, 5), { code: 'EINVAL' })
})

t.test('blocks are shared, or the result is false', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/from`, Buffer.alloc(8192, 7))
  const from = held(t, await openAt(fd, 'from', O_RDONLY))
  const to = held(t, await openAt(fd, 'to', O_CREAT | O_RDWR, 0o600))
  const shared = await reflink(to, from)
  t.equal(statxFd(to).size, shared ? 8192 : 0)
  const elsewhere = held(t, openSync('/proc/self/status', 'r'))
  t.equal(await reflink(to, elsewhere), false)
  await t.rejects(reflink(1_000_000, from), { code: 'EBADF', op: 'ficlone' })
})
