/** System calls for the kernel's side: synchronous, by path bytes (latin1), so that they run with the main thread's credentials. */

import type { FileType, Time } from '../../overlay-core/api/types.ts'
import { bind, lastErrno } from '../../overlay-core/sys/call.ts'
import { sysError } from '../../overlay-core/sys/error.ts'
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH, S_IFCHR } from '../../overlay-core/sys/flags.ts'

const SYS_OPENAT2 = 437
const [SYS_SETGROUPS, SYS_SETRESUID, SYS_SETRESGID] = process.arch === 'arm64' ? [159, 147, 149] : [116, 117, 119]
const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const BENEATH_NO_SYMLINKS = 0x0c
const UTIME_NOW = 0x3fffffff
const UTIME_OMIT = 0x3ffffffe
const UNCHANGED = 0xffff_ffff

type Path = Uint8Array
const openFunction = bind<[Path, number, number]>('int open(const void *, int, uint32_t)')
const openat2Function = bind<[number, number, Path, Uint8Array, number]>(
  'int64_t syscall(int64_t, int, const void *, const void *, int64_t)',
)
const closeFunction = bind<[number]>('int close(int)')
const mkdirFunction = bind<[Path, number]>('int mkdir(const void *, uint32_t)')
const mknodFunction = bind<[Path, number, number]>('int mknod(const void *, uint32_t, uint64_t)')
const symlinkFunction = bind<[Path, Path]>('int symlink(const void *, const void *)')
const linkFunction = bind<[Path, Path]>('int link(const void *, const void *)')
const unlinkFunction = bind<[Path]>('int unlink(const void *)')
const rmdirFunction = bind<[Path]>('int rmdir(const void *)')
const renameat2Function = bind<[number, Path, number, Path, number]>(
  'int renameat2(int, const void *, int, const void *, uint32_t)',
)
const chmodFunction = bind<[Path, number]>('int chmod(const void *, uint32_t)')
const chownFunction = bind<[number, Path, number, number, number]>(
  'int fchownat(int, const void *, uint32_t, uint32_t, int)',
)
const utimensatFunction = bind<[number, Path, Uint8Array, number]>(
  'int utimensat(int, const void *, const void *, int)',
)
const truncateFunction = bind<[Path, number]>('int truncate(const void *, int64_t)')
const ftruncateFunction = bind<[number, number]>('int ftruncate(int, int64_t)')
const fallocateFunction = bind<[number, number, number, number]>('int fallocate(int, int, int64_t, int64_t)')
const preadFunction = bind<[number, Uint8Array, number, number]>('int64_t pread(int, void *, size_t, int64_t)')
const pwriteFunction = bind<[number, Uint8Array, number, number]>('int64_t pwrite(int, const void *, size_t, int64_t)')
const readlinkFunction = bind<[Path, Uint8Array, number]>('int64_t readlink(const void *, void *, size_t)')
const getdentsFunction = bind<[number, Uint8Array, number]>('int64_t getdents64(int, void *, size_t)')
const accessFunction = bind<[number, Path, number, number]>('int faccessat(int, const void *, int, int)')
const setxattrFunction = bind<[Path, Path, Uint8Array, number, number]>(
  'int lsetxattr(const void *, const void *, const void *, size_t, int)',
)
const getxattrFunction = bind<[Path, Path, Uint8Array, number]>(
  'int64_t lgetxattr(const void *, const void *, void *, size_t)',
)
const removexattrFunction = bind<[Path, Path]>('int lremovexattr(const void *, const void *)')
const listxattrFunction = bind<[Path, Uint8Array, number]>('int64_t llistxattr(const void *, void *, size_t)')
const mountFunction = bind<[Path, Path, Path, number, Path]>(
  'int mount(const void *, const void *, const void *, uint64_t, const void *)',
)
const umountFunction = bind<[Path, number]>('int umount2(const void *, int)')
const setIdsFunction = bind<[number, number, number, number]>('int64_t syscall(int64_t, uint32_t, uint32_t, uint32_t)')
const setgroupsFunction = bind<[number, number, Uint8Array]>('int64_t syscall(int64_t, int64_t, const void *)')

const cString = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1')

function checked(op: string, result: number): number {
  if (result < 0) throw sysError(op, lastErrno())
  return result
}

export const open = (path: string, flags: number, mode = 0): number =>
  checked('open', openFunction(cString(path), flags | O_CLOEXEC, mode))

/** Opens `path` below the directory `fd` as O_PATH; symlinks on the way are refused (ELOOP). */
export function openBeneath(fd: number, path: string, flags: number): number {
  const how = Buffer.alloc(24)
  how.writeUInt32LE(flags | O_PATH | O_CLOEXEC, 0)
  how.writeUInt32LE(BENEATH_NO_SYMLINKS, 16)
  return checked('openat2', openat2Function(SYS_OPENAT2, fd, cString(path), how, how.length))
}

export const close = (fd: number): void => void checked('close', closeFunction(fd))
export const mkdir = (path: string, mode: number): void => void checked('mkdir', mkdirFunction(cString(path), mode))
export const symlink = (target: Uint8Array, path: string): void =>
  void checked('symlink', symlinkFunction(Buffer.concat([target, Buffer.alloc(1)]), cString(path)))
export const link = (from: string, to: string): void => void checked('link', linkFunction(cString(from), cString(to)))
export const unlink = (path: string): void => void checked('unlink', unlinkFunction(cString(path)))
export const rmdir = (path: string): void => void checked('rmdir', rmdirFunction(cString(path)))
export const rename = (from: string, to: string, flags: number): void =>
  void checked('rename', renameat2Function(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags))
/** Not for a symlink: it would be followed. */
export const chmod = (path: string, mode: number): void => void checked('chmod', chmodFunction(cString(path), mode))
export const truncate = (path: string, size: number): void =>
  void checked('truncate', truncateFunction(cString(path), size))
export const ftruncate = (fd: number, size: number): void => void checked('ftruncate', ftruncateFunction(fd, size))
export const fallocate = (fd: number, mode: number, offset: number, length: number): void =>
  void checked('fallocate', fallocateFunction(fd, mode, offset, length))
export const pwrite = (fd: number, data: Uint8Array, position: number): number =>
  checked('pwrite', pwriteFunction(fd, data, data.length, position))
export const removexattr = (path: string, name: string): void =>
  void checked('removexattr', removexattrFunction(cString(path), cString(name)))
export const setxattr = (path: string, name: string, value: Uint8Array, flags = 0): void =>
  void checked('setxattr', setxattrFunction(cString(path), cString(name), value, value.length, flags))
export const umount = (path: string, flags = 0): void => void checked('umount', umountFunction(cString(path), flags))
/** By the effective ids, of a symlink itself (AT_EACCESS, AT_SYMLINK_NOFOLLOW). */
export const access = (path: string, mask: number): void =>
  void checked('access', accessFunction(AT_FDCWD, cString(path), mask, 0x200 | AT_SYMLINK_NOFOLLOW))

export function mknod(path: string, mode: number, major: number, minor: number): void {
  const device = (minor >>> 8) * 0x10_0000 + major * 0x100 + (minor & 0xff)
  checked('mknod', mknodFunction(cString(path), mode, device))
}

export const whiteout = (path: string): void => mknod(path, S_IFCHR, 0, 0)

/** Whether `path` can be opened so, a symlink itself. */
function opens(path: string, flags: number): boolean {
  const fd = openFunction(cString(path), O_PATH | O_NOFOLLOW | O_CLOEXEC | flags, 0)
  if (fd >= 0) close(fd)
  return fd >= 0
}

export const exists = (path: string): boolean => opens(path, 0)
export const isDirectory = (path: string): boolean => opens(path, O_DIRECTORY)

export function chown(path: string, uid: number | undefined, gid: number | undefined): void {
  checked('chown', chownFunction(AT_FDCWD, cString(path), uid ?? UNCHANGED, gid ?? UNCHANGED, AT_SYMLINK_NOFOLLOW))
}

/** By the effective ids, of what the path leads to. */
export const accessFollowing = (path: string, mask: number): void =>
  void checked('access', accessFunction(AT_FDCWD, cString(path), mask, 0x200))

export function utimes(path: string, atime: Time | 'now' | undefined, mtime: Time | 'now' | undefined): void {
  checked('utimes', utimensatFunction(AT_FDCWD, cString(path), timespecs(atime, mtime), AT_SYMLINK_NOFOLLOW))
}

/** Of the object that a descriptor is open on (AT_EMPTY_PATH). */
export function utimesFd(fd: number, atime: Time | 'now' | undefined, mtime: Time | 'now' | undefined): void {
  checked('utimes', utimensatFunction(fd, cString(''), timespecs(atime, mtime), 0x1000))
}

function timespecs(atime: Time | 'now' | undefined, mtime: Time | 'now' | undefined): Buffer {
  const times = Buffer.alloc(32)
  for (const [at, time] of [[0, atime] as const, [16, mtime] as const]) {
    if (time === undefined || time === 'now') {
      times.writeUInt32LE(time === 'now' ? UTIME_NOW : UTIME_OMIT, at + 8)
      continue
    }
    times.writeBigInt64LE(BigInt(time.sec), at)
    times.writeUInt32LE(time.nsec, at + 8)
  }
  return times
}

/** Reads up to `length` bytes at `position`; fewer only at the end. */
export function pread(fd: number, length: number, position: number): Buffer {
  const buffer = Buffer.alloc(length)
  let done = 0
  while (done < length) {
    const part = buffer.subarray(done)
    const count = checked('pread', preadFunction(fd, part, part.length, position + done))
    if (count === 0) break
    done += count
  }
  return buffer.subarray(0, done)
}

export function readlink(path: string): Buffer {
  const buffer = Buffer.alloc(4096)
  return buffer.subarray(0, checked('readlink', readlinkFunction(cString(path), buffer, buffer.length)))
}

/** A name of a directory as getdents64(2) gives it; type 0 where the file system does not tell. */
export interface RawEntry {
  readonly name: string
  readonly type: FileType | 0
}

const listingBuffer = Buffer.alloc(64 * 1024)

/** The next names of an open directory; empty at the end. */
export function getdents(fd: number, bytes = listingBuffer.length): RawEntry[] {
  const length = checked('getdents64', getdentsFunction(fd, listingBuffer, bytes))
  const entries: RawEntry[] = []
  for (let at = 0; at < length; at += listingBuffer.readUInt16LE(at + 16)) {
    const name = listingBuffer.toString('latin1', at + 19, listingBuffer.indexOf(0, at + 19))
    if (name === '.' || name === '..') continue
    entries.push({ name, type: ((listingBuffer[at + 18] as number) << 12) as FileType | 0 })
  }
  return length > 0 && entries.length === 0 ? getdents(fd, bytes) : entries
}

export function getxattr(path: string, name: string): Buffer {
  const buffer = Buffer.alloc(4096)
  return buffer.subarray(0, checked('getxattr', getxattrFunction(cString(path), cString(name), buffer, buffer.length)))
}

export function listxattr(path: string): string[] {
  const buffer = Buffer.alloc(16384)
  const length = checked('listxattr', listxattrFunction(cString(path), buffer, buffer.length))
  return length === 0 ? [] : buffer.toString('latin1', 0, length - 1).split('\0')
}

export function mount(source: string, target: string, type: string, flags: number, data: string): void {
  checked('mount', mountFunction(cString(source), cString(target), cString(type), flags, cString(data)))
}

let changed = false

/**
 * Runs `work` with effective ids and groups of `cred`. Only the main thread changes, for as long as `work` takes: it must be
 * synchronous. A call inside of another keeps the outer one's caller. The kernel drops all capabilities on the way and gives them back with uid 0.
 */
export function asCaller<T>(cred: { uid: number; gid: number; groups: readonly number[] }, work: () => T): T {
  if (cred.uid === 0 || changed) return work()
  const groups = Buffer.alloc(Math.max(4, cred.groups.length * 4))
  cred.groups.forEach((group, i) => {
    groups.writeUInt32LE(group, i * 4)
  })
  checked('setgroups', setgroupsFunction(SYS_SETGROUPS, cred.groups.length, groups))
  checked('setresgid', setIdsFunction(SYS_SETRESGID, UNCHANGED, cred.gid, UNCHANGED))
  checked('setresuid', setIdsFunction(SYS_SETRESUID, UNCHANGED, cred.uid, UNCHANGED))
  changed = true
  try {
    return work()
  } finally {
    changed = false
    checked('setresuid', setIdsFunction(SYS_SETRESUID, UNCHANGED, 0, UNCHANGED))
    checked('setresgid', setIdsFunction(SYS_SETRESGID, UNCHANGED, 0, UNCHANGED))
    checked('setgroups', setgroupsFunction(SYS_SETGROUPS, 0, groups))
  }
}
