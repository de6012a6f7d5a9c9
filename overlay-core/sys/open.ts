import fs from 'node:fs'
import { isErrno, OverlayError } from '../api/errno.ts'
import type { MaybePromise } from '../api/types.ts'
import { component, cString, fdPath } from './argument.ts'
import {
  addressOf,
  bind,
  call,
  callsElsewhere,
  lastErrno,
  type ResultOf,
  type SystemCall,
  step,
  tryCall,
} from './call.ts'
import { afterShortage, SHORTAGE_ATTEMPTS } from './descriptor-shares.ts'
import { sysError } from './error.ts'
import { faultNow } from './fault.ts'
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_TMPFILE,
  O_TRUNC,
} from './flags.ts'
import { lookAtRoot } from './local.ts'
import { nodeCall } from './pool.ts'
import { GOES_ON_AFTER_FAILURE } from './thread-layout.ts'

const SYS_OPENAT2 = 437
const SYS_OPEN_TREE = 428
const OPEN_TREE_CLONE = 1
const RESOLVE_NO_MAGICLINKS = 0x02
const RESOLVE_NO_SYMLINKS = 0x04
const RESOLVE_BENEATH = 0x08
const RESOLVE_CACHED = 0x20
const CONFINED = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
const MAKES_A_FILE = O_CREAT | (O_TMPFILE & ~O_DIRECTORY)
const SIZE_OF_OPEN_HOW = 24
/** Result of an open: there is no such name. An absent name is too common for an error. */
export const ABSENT = -2
/** Result of `openAtCached`: it would have to wait. */
export const WOULD_WAIT = -11
const ENOENT = 2
const EINTR = 4
const EBADF = 9
const EAGAIN = 11
const EINVAL = 22
const EMFILE = 24
/** How many files one trip to a thread closes; freeing a small file takes some 10 µs. */
const MOST_CLOSES = 8
/** The longest path of openat2 including its NUL. */
const PATH_MAX = 4096

type Open = [dirFd: number, path: Uint8Array, flags: number, mode: number]
type OpenHow = [number: number, dirFd: number, path: Uint8Array, how: Uint32Array, size: number]
const OPEN_PROTOTYPE = 'int openat(int, const void *, int, uint32_t)'
// Without a directory it reopens a descriptor that is known not to be a fifo.
const openat = bind<Open>(OPEN_PROTOTYPE, (dirFd, _path, flags) => opensAtOnce(flags, dirFd === AT_FDCWD))
// For a path on unknown file systems.
const openPath = bind<Open>(OPEN_PROTOTYPE, false)
const openTree = bind<[number: number, dirFd: number, path: Uint8Array, flags: number]>(
  'int64_t syscall(int64_t, int, const void *, uint32_t)',
  false,
)
const openat2 = bind<OpenHow>(
  'int64_t syscall(int64_t, int, const void *, const void *, int64_t)',
  (_number, _dirFd, _path, how) => opensAtOnce(how[0] as number, false),
)
const openat2Address = bind<[number: number, dirFd: number, path: number, how: number, size: number]>(
  'int64_t syscall(int64_t, int, uintptr_t, uintptr_t, int64_t)',
)
const close = bind<[fd: number]>('int close(int)')

// Reused by `openAtCached`, which is synchronous.
const cachedPath = Buffer.alloc(PATH_MAX)
const cachedHow = new Uint32Array(new ArrayBuffer(SIZE_OF_OPEN_HOW))
const cachedPathAddress = addressOf(cachedPath)
const cachedHowAddress = addressOf(cachedHow)
let kernelKnowsCached = true
let runningCloses = 0
const waitingForCloses: (() => void)[] = []
let failedCloses = 0

/** Whether an open does not wait for the other end of a fifo, and frees no blocks. */
function opensAtOnce(flags: number, known: boolean): boolean {
  if ((flags & O_TRUNC) !== 0) return false
  return known || (flags & (O_PATH | O_DIRECTORY | O_NONBLOCK | O_EXCL)) !== 0
}

/** struct open_how: three 64-bit words, of which the upper halves stay 0. */
function fillHow(how: Uint32Array, flags: number, mode: number, resolve: number): void {
  how[0] = flags | O_CLOEXEC
  // Unlike open(2), openat2(2) refuses a mode that it does not need.
  how[2] = (flags & MAKES_A_FILE) === 0 ? 0 : mode
  how[4] = resolve
}

/** Opens the root directory of a layer, by an administrator's path (symlinks in it are followed), as an O_PATH descriptor. */
export async function openRoot(path: string): Promise<number> {
  const bytes = Buffer.from(path, 'utf8').toString('latin1')
  const fd = await call('open', path, openPath, AT_FDCWD, cString('open', bytes), O_PATH | O_DIRECTORY | O_CLOEXEC, 0)
  return await lookedAt(fd)
}

/** Like `openRoot`, for a canonical path whose file system is known; no symlink is followed. */
export async function openRootAgain(path: string): Promise<number> {
  const bytes = cString('openat2', Buffer.from(path, 'utf8').toString('latin1'))
  const how = new Uint32Array(SIZE_OF_OPEN_HOW / 4)
  fillHow(how, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
  return await opened('openat2', undefined, () =>
    tryCall('openat2', openat2, SYS_OPENAT2, AT_FDCWD, bytes, how, SIZE_OF_OPEN_HOW),
  )
}

async function lookedAt(fd: number): Promise<number> {
  try {
    await lookAtRoot(fd)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Like `openRoot`, but opens a private copy of the mount (like clone_private_mount in the kernel's overlay): mounts inside the tree are not
 * visible, and later mounts and unmounts there have no effect. Without CAP_SYS_ADMIN, or before Linux 5.2, it opens the tree as everybody sees it.
 */
export async function openPrivateRoot(path: string): Promise<number> {
  const bytes = Buffer.from(path, 'utf8').toString('latin1')
  const flags = OPEN_TREE_CLONE | O_CLOEXEC
  const fd = await tryCall('open_tree', openTree, SYS_OPEN_TREE, AT_FDCWD, cString('open_tree', bytes), flags)
  return fd < 0 ? await openRoot(path) : await lookedAt(fd)
}

/**
 * Opens `name`, which may have several components, strictly beneath `dirFd`: it does not leave `dirFd` by `..` and follows no symlinks or magic links.
 * O_CLOEXEC is added; O_PATH with O_NOFOLLOW opens a symlink itself. `mode` is used only with O_CREAT and O_TMPFILE. Opening
 * a fifo or device can block forever and has side effects: open it with O_PATH, check the type, and then `reopen`.
 *
 * @throws ELOOP a symlink in the path · EXDEV it leads out of `dirFd` · EMFILE | ENFILE · the errors of open(2)
 * @see openat2(2)
 */
export async function openAt(dirFd: number, name: string, flags: number, mode = 0): Promise<number> {
  const fd = await openIfThere(dirFd, name, flags, mode)
  if (fd === ABSENT) throw sysError('openat2', ENOENT, name)
  return fd
}

/** Like `openAt`, but returns `ABSENT` if there is no such name. */
export function openIfThere(dirFd: number, name: string, flags: number, mode = 0): Promise<number> {
  const how = new Uint32Array(SIZE_OF_OPEN_HOW / 4)
  fillHow(how, flags, mode, CONFINED)
  const path = cString('openat2', name)
  return opened('openat2', name, () => tryCall('openat2', openat2, SYS_OPENAT2, dirFd, path, how, SIZE_OF_OPEN_HOW))
}

/** Returns the descriptor of `open`, or `ABSENT`. If there is none left, asks caches to close theirs, and tries again for a while. */
async function opened(op: string, name: string | undefined, open: () => MaybePromise<number>): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    const fd = await open()
    if (fd >= 0 || fd === ABSENT) return fd
    if (fd !== -EMFILE || attempt === SHORTAGE_ATTEMPTS) throw sysError(op, -fd, name)
    await afterShortage()
  }
}

/**
 * Like `openIfThere`, but synchronous and only from the kernel's caches: returns `WOULD_WAIT` if it would have to wait, or if the kernel
 * is older than 5.12 and cannot tell. Never creates or truncates. A fifo is opened without waiting (O_NONBLOCK).
 *
 * The guarantee covers only the lookup. Without O_PATH, a FUSE or network file system may ask its server to open the file:
 * use `openAt` there.
 *
 * @throws like `openAt`
 */
export function openAtCached(dirFd: number, name: string, flags: number): number {
  if (!kernelKnowsCached) return WOULD_WAIT
  if (name.length >= PATH_MAX) throw new OverlayError('ENAMETOOLONG', 'openat2', name)
  if (name.includes('\0')) throw new OverlayError('EINVAL', 'openat2', name)
  cachedPath.write(name, 0, 'latin1')
  cachedPath[name.length] = 0
  const fault = faultNow('openat2')
  if (fault === EINTR) return WOULD_WAIT
  if (fault === ENOENT) return ABSENT
  if (fault > 0) throw sysError('openat2', fault, name)
  const wanted = (flags & O_PATH) === 0 ? flags | O_NONBLOCK : flags
  fillHow(cachedHow, wanted, 0, CONFINED | RESOLVE_CACHED)
  const fd = openat2Address(SYS_OPENAT2, dirFd, cachedPathAddress, cachedHowAddress, SIZE_OF_OPEN_HOW)
  if (fd >= 0) return fd
  const errno = lastErrno()
  if (errno === ENOENT) return ABSENT
  // `openAt` waits for a free descriptor.
  if (errno === EAGAIN || errno === EINTR || errno === EMFILE) return WOULD_WAIT
  if (errno === EINVAL && !probeCached()) return WOULD_WAIT
  throw sysError('openat2', errno, name)
}

/** Distinguishes an old kernel's EINVAL for RESOLVE_CACHED from EINVAL for wrong flags. */
function probeCached(): boolean {
  cachedPath.write('/\0', 0, 'latin1')
  fillHow(cachedHow, O_PATH, 0, RESOLVE_CACHED)
  const fd = openat2Address(SYS_OPENAT2, AT_FDCWD, cachedPathAddress, cachedHowAddress, SIZE_OF_OPEN_HOW)
  if (fd >= 0) close(fd)
  else if (lastErrno() === EINVAL) kernelKnowsCached = false
  return kernelKnowsCached
}

/** Opens the file of a descriptor again with other `flags`: for example, to read through an O_PATH descriptor of a regular file or directory. */
export async function reopen(fd: number, flags: number): Promise<number> {
  const path = cString('open', fdPath(fd))
  const again = await opened('open', undefined, () => tryCall('open', openat, AT_FDCWD, path, flags | O_CLOEXEC, 0))
  if (again === ABSENT) throw sysError('open', ENOENT)
  return again
}

/**
 * Opens the directory of `fd` (O_PATH suffices) for reading, without updating its access time if the process may request that. The caller
 * closes it. @throws ENOTDIR · EACCES
 */
export async function openDirectory(fd: number): Promise<number> {
  try {
    return await openAt(fd, '.', O_DIRECTORY | O_NOATIME)
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EACCES')) throw error
    // Without search permission `.` cannot be looked up, but the directory may still be readable.
    return isErrno(error, 'EPERM') ? await openAt(fd, '.', O_DIRECTORY) : await reopen(fd, O_DIRECTORY)
  }
}

/** The first attempt of `openDirectory` as a step of `tryCalls`. */
export function openDirectoryStep(fd: number | ResultOf): SystemCall {
  const how = new Uint32Array(SIZE_OF_OPEN_HOW / 4)
  fillHow(how, O_DIRECTORY | O_NOATIME, 0, CONFINED)
  return step('openat2', openat2, SYS_OPENAT2, fd, cString('openat2', '.'), how, SIZE_OF_OPEN_HOW)
}

/** Creates a nameless regular file in the directory, to be named later by `linkFd`. @throws EOPNOTSUPP not supported by the file system */
export async function tmpFile(dirFd: number, flags: number, mode: number): Promise<number> {
  return openAt(dirFd, '.', flags | O_TMPFILE, mode)
}

/** Closes a descriptor through which nothing was written, which never waits. @throws EBADF it is not open (a bug of the caller) */
export function closeSync(fd: number): void {
  if (close(fd) === 0) return
  const errno = lastErrno()
  // Linux closes the descriptor in every case except EBADF; other errors mean nothing for one that was only read.
  if (errno === EBADF) throw sysError('close', errno)
  failedCloses++
}

/** Closes a descriptor in the pool, for files that were written or removed. A failure is only counted, because fsync protects the data. */
export function closeLater(fd: number): void {
  void closeInPool(fd)
}

/** Like `closeLater`; resolves when it is closed, and what was removed is freed. Never rejects. */
export function closeInPool(fd: number): Promise<void> {
  runningCloses++
  return nodeCall('close', (done) => fs.close(fd, (error) => done(error ? -EBADF : 0))).then(
    (result) => closesEnded(1, result === 0 ? 0 : 1),
    () => closesEnded(1, 1),
  )
}

/**
 * Like `closeLater`, for many small files of local file systems, where close(2) is never interrupted: closes them on a thread, several in one
 * trip, which costs a tenth.
 */
export function closeSmallLater(fds: readonly number[]): void {
  for (let at = 0; at < fds.length; at += MOST_CLOSES) {
    const steps = fds.slice(at, at + MOST_CLOSES).map((fd) => ({ ...closeStep(fd), flags: GOES_ON_AFTER_FAILURE }))
    runningCloses += steps.length
    callsElsewhere(steps).then(
      (results) => closesEnded(steps.length, results.filter((result) => result !== 0).length),
      () => closesEnded(steps.length, steps.length),
    )
  }
}

function closesEnded(count: number, failed: number): void {
  failedCloses += failed
  runningCloses -= count
  if (runningCloses === 0) for (const wake of waitingForCloses.splice(0)) wake()
}

/** Resolves when all descriptors passed to `closeLater` and `closeSmallLater` are closed. */
export async function closesDone(): Promise<void> {
  if (runningCloses === 0) return
  const { promise, resolve } = Promise.withResolvers<void>()
  waitingForCloses.push(resolve)
  await promise
}

/** The number of failed closes since the start. */
export function closeFailures(): number {
  return failedCloses
}

/** openat(2) of one component as a step of `tryCalls`; a symlink is not followed. */
export function openStep(dirFd: number | ResultOf, name: string, flags: number, mode = 0): SystemCall {
  return step('openat', openat, dirFd, component('openat', name), flags | O_CLOEXEC | O_NOFOLLOW, mode)
}

/** close(2) as a step of `tryCalls`. */
export function closeStep(fd: number | ResultOf): SystemCall {
  return step('close', close, fd)
}

/** `openRoot` without a look at the file system, as a step of `tryCalls`. */
export function openPathStep(path: string): SystemCall {
  const bytes = cString('open', Buffer.from(path, 'utf8').toString('latin1'))
  return step('open', openPath, AT_FDCWD, bytes, O_PATH | O_DIRECTORY | O_CLOEXEC, 0)
}
