import type { SetTime } from '../api/types.ts'
import { component, cString, fdPath } from './argument.ts'
import { bind, bindSlow, call, makeStep, type ResultOf, type SystemCall, step } from './call.ts'
import { sysError } from './error.ts'
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from './flags.ts'

const EINVAL = 22
const EFBIG = 27
const UTIME_NOW = 0x3fffffff
const UTIME_OMIT = 0x3ffffffe
const SIZE_OF_TIMESPECS = 32

const fchmodat = bind<[dirFd: number, name: Uint8Array, mode: number, flags: number]>(
  'int fchmodat(int, const void *, uint32_t, int)',
)
const fchownat = bind<[dirFd: number, name: Uint8Array, uid: number, gid: number, flags: number]>(
  'int fchownat(int, const void *, uint32_t, uint32_t, int)',
)
const utimensat = bind<[dirFd: number, name: Uint8Array, times: Uint8Array, flags: number]>(
  'int utimensat(int, const void *, const void *, int)',
)
const fchmod = bind<[fd: number, mode: number]>('int fchmod(int, uint32_t)')
const ftruncate = bindSlow<[fd: number, size: number]>('int ftruncate(int, int64_t)')
const truncatePath = bind<[path: Uint8Array, size: number]>('int truncate(const void *, int64_t)', false)
const posixFallocate = bindSlow<[fd: number, mode: number, offset: number, length: number]>(
  'int fallocate(int, int, int64_t, int64_t)',
)

/** An empty name refers to the descriptor itself. */
function componentOrSelf(op: string, name: string): Buffer {
  return name === '' ? cString(op, '') : component(op, name)
}

/**
 * Sets the mode (0…0o7777) of `name`, or with '' of the descriptor (O_PATH suffices). Never follows a symlink, which has no
 * mode to set. @throws EOPNOTSUPP it is a symlink
 */
export async function chmodAt(dirFd: number, name: string, mode: number): Promise<void> {
  if (name === '') await call('fchmodat', undefined, fchmodat, AT_FDCWD, cString('fchmodat', fdPath(dirFd)), mode, 0)
  else await call('fchmodat', name, fchmodat, dirFd, component('fchmodat', name), mode, AT_SYMLINK_NOFOLLOW)
}

/** Sets owner and group of `name` (a symlink is not followed), or with '' of the descriptor; -1 does not change one. */
export async function chownAt(dirFd: number, name: string, uid: number, gid: number): Promise<void> {
  await makeStep(chownStep(dirFd, name, uid, gid), name)
}

/** Sets the times of `name` (a symlink is not followed), or with '' of the descriptor; undefined does not change one. @throws EINVAL invalid time */
export async function utimesAt(
  dirFd: number,
  name: string,
  atime: SetTime | undefined,
  mtime: SetTime | undefined,
): Promise<void> {
  await makeStep(timesStep(dirFd, name, atime, mtime), name)
}

/** Sets the size of a file that is open for writing. @throws EFBIG (also beyond 2^53) · EINVAL negative */
export async function truncateFd(fd: number, size: number): Promise<void> {
  if (size > Number.MAX_SAFE_INTEGER) throw sysError('ftruncate', EFBIG)
  await call('ftruncate', undefined, ftruncate, fd, size)
}

/**
 * Does what truncate(2) does for the present size: the file system decides whether the times change, while ftruncate(2) always
 * updates them. `fd` must be open for writing.
 */
export async function confirmSize(fd: number, size: number): Promise<void> {
  await call('truncate', undefined, truncatePath, cString('truncate', fdPath(fd)), size)
}

/** fallocate(2) with its FALLOC_FL_ `mode`. @throws EOPNOTSUPP not supported by the file system · ENOSPC */
export async function fallocate(fd: number, mode: number, offset: number, length: number): Promise<void> {
  await call('fallocate', undefined, posixFallocate, fd, mode, offset, length)
}

function putTimespec(out: Buffer, at: number, time: SetTime | undefined, name: string): void {
  if (time === undefined || time === 'now') {
    out.writeUInt32LE(time === 'now' ? UTIME_NOW : UTIME_OMIT, at + 8)
    return
  }
  // The kernel uses some values of nanoseconds beyond the range as UTIME_NOW and UTIME_OMIT.
  if (!Number.isSafeInteger(time.sec) || !(time.nsec >= 0 && time.nsec < 1e9)) throw sysError('utimensat', EINVAL, name)
  out.writeUInt32LE(time.sec >>> 0, at)
  out.writeInt32LE(Math.floor(time.sec / 0x1_0000_0000), at + 4)
  out.writeUInt32LE(time.nsec, at + 8)
}

/** fchmod(2) as a step of `tryCalls`. */
export function chmodStep(fd: number | ResultOf, mode: number): SystemCall {
  return step('fchmod', fchmod, fd, mode)
}

/** `chownAt` as a step of `tryCalls`. */
export function chownStep(dirFd: number | ResultOf, name: string, uid: number, gid: number): SystemCall {
  const flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH
  return step('fchownat', fchownat, dirFd, componentOrSelf('fchownat', name), uid >>> 0, gid >>> 0, flags)
}

/** `utimesAt` as a step of `tryCalls`. @throws EINVAL invalid time */
export function timesStep(
  dirFd: number | ResultOf,
  name: string,
  atime: SetTime | undefined,
  mtime: SetTime | undefined,
): SystemCall {
  const times = Buffer.alloc(SIZE_OF_TIMESPECS)
  putTimespec(times, 0, atime, name)
  putTimespec(times, 16, mtime, name)
  const flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH
  return step('utimensat', utimensat, dirFd, componentOrSelf('utimensat', name), times, flags)
}
