import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { isErrno } from '../../../overlay-core/api/errno.ts'
import { FileType } from '../../../overlay-core/api/types.ts'
import { pwrite } from '../../../overlay-core/sys/data.ts'
import { linkFd, mkdirAt, mknodAt, symlinkAt } from '../../../overlay-core/sys/dir.ts'
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  S_IFIFO,
} from '../../../overlay-core/sys/flags.ts'
import {
  ABSENT,
  closeFailures,
  closeLater,
  closeSmallLater,
  closeSync,
  closesDone,
  openAt,
  openAtCached,
  openDirectory,
  openIfThere,
  openRoot,
  reopen,
  tmpFile,
  WOULD_WAIT,
} from '../../../overlay-core/sys/open.ts'
import { statxAt, statxFd } from '../../../overlay-core/sys/stat.ts'
import { held, scratchDir } from './scratch-dir.ts'

t.test('a root is opened by its path, which may have symlinks and any UTF-8', async (t) => {
  const { path } = await scratchDir(t)
  mkdirSync(`${path}/grün`)
  symlinkSync('grün', `${path}/link`)
  const direct = held(t, await openRoot(`${path}/grün`))
  const byLink = held(t, await openRoot(`${path}/link`))
  t.equal(statxFd(direct).ino, statxFd(byLink).ino)
  writeFileSync(`${path}/file`, '')
  await t.rejects(openRoot(`${path}/file`), { code: 'ENOTDIR' })
  await t.rejects(openRoot(`${path}/none`), { code: 'ENOENT' })
  await t.rejects(openRoot(`${path}\0`), { code: 'EINVAL' })
})

t.test('names are bytes: 0xff and 255 bytes long', async (t) => {
  const { fd, path } = await scratchDir(t)
  for (const name of ['\xff\xfe bytes', '\x01\n', 'ÿ'.repeat(255), ' ', '...']) {
    closeSync(await openAt(fd, name, O_CREAT | O_EXCL | O_WRONLY, 0o600))
    t.ok(lstatSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from(name, 'latin1')])).isFile())
    closeSync(openAtCached(fd, name, O_RDONLY))
  }
  await t.rejects(openAt(fd, 'n'.repeat(256), O_CREAT | O_WRONLY, 0o600), { code: 'ENAMETOOLONG' })
})

/** Opens; again when anything on the machine was renamed or mounted meanwhile, as the kernel then does not judge `..` (openat2(2)). */
async function openUndisturbed(fd: number, name: string): Promise<number> {
  for (;;) {
    try {
      return await openAt(fd, name, O_RDONLY)
    } catch (error) {
      if (!isErrno(error, 'EAGAIN')) throw error
    }
  }
}

t.test('nothing outside of the directory can be opened', async (t) => {
  const { fd, path } = await scratchDir(t)
  mkdirSync(`${path}/dir`)
  symlinkSync('/etc', `${path}/absolute`)
  symlinkSync('..', `${path}/dir/up`)
  symlinkSync('dir', `${path}/inside`)
  writeFileSync(`${path}/dir/file`, '')
  const refused = { '..': 'EXDEV', '../x': 'EXDEV', '/etc': 'EXDEV', 'dir/../..': 'EXDEV', absolute: 'ELOOP' }
  for (const [name, code] of Object.entries({
    ...refused,
    'dir/up/x': 'ELOOP',
    'inside/file': 'ELOOP',
    '': 'ENOENT',
  })) {
    await t.rejects(openUndisturbed(fd, name), { code, op: 'openat2' }, name)
    // The kernel cannot judge `..` without a lock, so that the cached open leaves it to the other.
    if (name.includes('..')) t.equal(openAtCached(fd, name, O_RDONLY), WOULD_WAIT, name)
    else if (code === 'ENOENT') t.equal(openAtCached(fd, name, O_RDONLY), ABSENT)
    else t.throws(() => openAtCached(fd, name, O_RDONLY), { code, op: 'openat2' }, name)
  }
  closeSync(await openAt(fd, 'dir/file', O_RDONLY))
  closeSync(await openAt(fd, 'dir/..', O_PATH))
  await t.rejects(openAt(fd, 'dir/file\0x', O_RDONLY), { code: 'EINVAL' })
  t.throws(() => openAtCached(fd, 'dir/file\0x', O_RDONLY), { code: 'EINVAL' })
  t.throws(() => openAtCached(fd, 'a/'.repeat(3000), O_RDONLY), { code: 'ENAMETOOLONG' })
})

t.test('a symlink itself can be opened, even a dangling one', async (t) => {
  const { fd } = await scratchDir(t)
  await symlinkAt(Buffer.from('/nowhere'), fd, 'link')
  const inode = (await statxAt(fd, 'link')).ino
  for (const link of [await openAt(fd, 'link', O_PATH | O_NOFOLLOW), openAtCached(fd, 'link', O_PATH | O_NOFOLLOW)]) {
    t.match(statxFd(held(t, link)), { type: FileType.symlink, ino: inode })
  }
})

t.test("a cached open returns synchronously, or throws the kernel's error", async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  t.ok(held(t, openAtCached(fd, 'file', O_RDONLY)) >= 0)
  t.equal(openAtCached(fd, 'none', O_PATH), WOULD_WAIT, 'a name never asked for')
  await t.rejects(openAt(fd, 'none', O_PATH), { code: 'ENOENT', op: 'openat2' })
  t.equal(await openIfThere(fd, 'none', O_PATH), ABSENT, 'absence is no error for those who ask so')
  // ext4, xfs and btrfs remember now that there is none; tmpfs does not.
  t.ok([ABSENT, WOULD_WAIT].includes(openAtCached(fd, 'none', O_PATH)))
  await t.rejects(openIfThere(fd, 'file', O_DIRECTORY), { code: 'ENOTDIR' })
  t.throws(() => openAtCached(fd, 'file', O_DIRECTORY), { code: 'ENOTDIR' })
  t.throws(
    () => openAtCached(fd, 'file', O_PATH | O_RDWR),
    { code: 'EINVAL' },
    'wrong flags are not taken for an old kernel',
  )
  t.ok(held(t, openAtCached(fd, 'file', O_PATH)) >= 0)
  t.equal(openAtCached(fd, 'new', O_CREAT | O_WRONLY), WOULD_WAIT, 'it never creates')
})

t.test('a cached open of a fifo does not wait for a writer', async (t) => {
  const { fd } = await scratchDir(t)
  await mknodAt(fd, 'fifo', S_IFIFO | 0o600, 0, 0)
  t.ok(held(t, openAtCached(fd, 'fifo', O_RDONLY)) >= 0)
})

t.test('an open file and an open directory are reopened for their data', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, 'before')
  const file = held(t, await openAt(fd, 'file', O_PATH))
  const writable = held(t, await reopen(file, O_RDWR))
  await pwrite(writable, Buffer.from('after '), 0)
  t.equal(readFileSync(`${path}/file`, 'utf8'), 'after ')
  const directory = held(t, await reopen(fd, O_DIRECTORY))
  t.equal(statxFd(directory).ino, statxFd(fd).ino)
  t.equal(statxFd(held(t, await openDirectory(fd))).ino, statxFd(fd).ino)
  await t.rejects(openDirectory(file), { code: 'ENOTDIR' })
})

t.test('a nameless file gets its name when it is ready', async (t) => {
  const { fd, path } = await scratchDir(t)
  const file = held(t, await tmpFile(fd, O_RDWR, 0o640))
  t.match(statxFd(file), { nlink: 0, type: FileType.regular, mode: 0o640 })
  await pwrite(file, Buffer.from('whole'), 0)
  await linkFd(file, fd, 'named\xff')
  t.equal(readFileSync(Buffer.from(`${path}/named\xff`, 'latin1'), 'utf8'), 'whole')
  await mkdirAt(fd, 'taken', 0o700)
  await t.rejects(linkFd(file, fd, 'taken'), { code: 'EEXIST', op: 'linkat' })
})

t.test('closing a descriptor that is not open is an error, which closeLater only counts', async (t) => {
  const { fd } = await scratchDir(t)
  const file = await openAt(fd, 'file', O_CREAT | O_WRONLY, 0o600)
  closeSync(file)
  t.throws(() => closeSync(file), { code: 'EBADF', op: 'close' })
  const before = closeFailures()
  closeLater(await openAt(fd, 'file', O_WRONLY))
  closeLater(1_000_000)
  while (closeFailures() === before) await new Promise((resolve) => setImmediate(resolve))
  t.equal(closeFailures(), before + 1)
})

t.test('closeSmallLater closes all descriptors, however many, and counts those that fail', async (t) => {
  const { fd } = await scratchDir(t)
  const files: number[] = []
  for (let i = 0; i < 20; i++) files.push(await openAt(fd, `file${i}`, O_CREAT | O_WRONLY, 0o600))
  const before = closeFailures()
  closeSmallLater([...files.slice(0, 3), 1_000_000, ...files.slice(3)])
  await closesDone()
  t.equal(closeFailures(), before + 1)
  for (const file of files) t.throws(() => statxFd(file), { code: 'EBADF' })
})
