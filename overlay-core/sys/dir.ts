import { bestEffort } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import type { FileType, MaybePromise } from '../api/types.ts'
import { component, cString, fdPath } from './argument.ts'
import { chownStep } from './attr.ts'
import { bind, call, failureOf, makeStep, ResultOf, type SystemCall, step, tryCalls } from './call.ts'
import { sysError } from './error.ts'
import { AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE, RENAME_NOREPLACE } from './flags.ts'
import { closeSync, openDirectory, openDirectoryStep } from './open.ts'
import { freesLittle } from './stat.ts'
import { GOES_ON_AFTER_FAILURE } from './thread-layout.ts'

const EINVAL = 22
const ENAMETOOLONG = 36
/** The kernel's limit for the target of a symlink is a page, including the NUL. */
const PATH_MAX = 4096
const LISTING_BYTES = 128 * 1024
/** Most directories are small. The first two reads may be made on the event loop. */
const FIRST_LISTING_BYTES = 8 * 1024
/** The maximum size of an entry of getdents64(2). */
const MOST_ENTRY_BYTES = 280
/** The mode bits that mkdir(2) sets. */
const MKDIR_MODE = 0o1777
/** The number of listing buffers kept for reuse. */
const SPARE_BUFFERS = 8

const mkdirat = bind<[dirFd: number, name: Uint8Array, mode: number]>('int mkdirat(int, const void *, uint32_t)')
const mknodat = bind<[dirFd: number, name: Uint8Array, mode: number, dev: number]>(
  'int mknodat(int, const void *, uint32_t, uint64_t)',
)
const symlinkat = bind<[target: Uint8Array, dirFd: number, name: Uint8Array]>(
  'int symlinkat(const void *, int, const void *)',
)
const linkat = bind<[oldDirFd: number, oldName: Uint8Array, newDirFd: number, newName: Uint8Array, flags: number]>(
  'int linkat(int, const void *, int, const void *, int)',
)
const unlinkat = bind<[dirFd: number, name: Uint8Array, flags: number]>(
  'int unlinkat(int, const void *, int)',
  (dirFd, name, flags) => (flags & AT_REMOVEDIR) !== 0 || freesLittle(dirFd, name),
)
const renameat2 = bind<[oldDirFd: number, oldName: Uint8Array, newDirFd: number, newName: Uint8Array, flags: number]>(
  'int renameat2(int, const void *, int, const void *, uint32_t)',
  (_oldDirFd, _oldName, newDirFd, newName, flags) =>
    (flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)) !== 0 || freesLittle(newDirFd, newName),
)
const readlinkat = bind<[dirFd: number, name: Uint8Array, out: Uint8Array, size: number]>(
  'int64_t readlinkat(int, const void *, void *, size_t)',
)
const getdents64 = bind<[fd: number, out: Uint8Array, size: number]>(
  'int64_t getdents64(int, void *, size_t)',
  (_fd, _out, size) => size <= FIRST_LISTING_BYTES,
)

const spareBuffers: Buffer[] = []

/** An entry as returned by getdents64(2). `type` 0: the file system does not tell. `ino` is exact up to 2^53. */
export interface RawDirEntry {
  readonly name: string
  readonly ino: number
  readonly type: FileType | 0
}

/** Creates a directory; the process umask applies (see `setUmask0`). @throws EEXIST … */
export async function mkdirAt(dirFd: number, name: string, mode: number): Promise<void> {
  await makeStep(mkdirStep(dirFd, name, mode), name)
}

/**
 * Creates a directory with `mode` (0…0o1777, with the umask of the process) for `owner`, in one trip. If only the change of the owner fails, the
 * directory stays. @throws EEXIST …
 */
export async function mkdirFor(
  dirFd: number,
  name: string,
  mode: number,
  owner: { readonly uid: number; readonly gid: number },
): Promise<void> {
  const steps = [mkdirStep(dirFd, name, mode & MKDIR_MODE), chownStep(dirFd, name, owner.uid, owner.gid)]
  const failure = failureOf(steps, await tryCalls(steps), name)
  if (failure) throw failure
}

/** Creates a node; `mode` includes the S_IFMT bits. A character device 0:0 is a whiteout and needs no privilege since Linux 5.8. */
export async function mknodAt(dirFd: number, name: string, mode: number, major: number, minor: number): Promise<void> {
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) throw sysError('mknodat', EINVAL, name)
  // The C library's dev_t (gnu_dev_makedev); the kernel keeps 12 bits of major and 20 of minor.
  const dev = (minor >>> 8) * 0x10_0000 + major * 0x100 + (minor & 0xff)
  await call('mknodat', name, mknodat, dirFd, component('mknodat', name), mode, dev)
}

/** Creates a symlink with exactly `targetBytes`. @throws EINVAL it contains a NUL · ENOENT it is empty · ENAMETOOLONG 4,096 bytes or longer */
export async function symlinkAt(targetBytes: Uint8Array, dirFd: number, name: string): Promise<void> {
  if (targetBytes.includes(0)) throw sysError('symlinkat', EINVAL, name)
  const target = Buffer.alloc(targetBytes.length + 1)
  target.set(targetBytes)
  await call('symlinkat', name, symlinkat, target, dirFd, component('symlinkat', name))
}

/** Gives the object called `oldName` (a symlink is not followed) another name. @throws EEXIST · EMLINK · EXDEV · EPERM a directory */
export async function linkAt(oldDirFd: number, oldName: string, newDirFd: number, newName: string): Promise<void> {
  const from = component('linkat', oldName)
  await call('linkat', newName, linkat, oldDirFd, from, newDirFd, component('linkat', newName), 0)
}

/** Gives the file of an open descriptor (also a nameless one of `tmpFile`) a name. @throws EEXIST … */
export async function linkFd(fd: number, newDirFd: number, newName: string): Promise<void> {
  const from = cString('linkat', fdPath(fd))
  const to = component('linkat', newName)
  await call('linkat', newName, linkat, AT_FDCWD, from, newDirFd, to, AT_SYMLINK_FOLLOW)
}

/** Removes the name of a non-directory. @throws ENOENT · EISDIR */
export function unlinkAt(dirFd: number, name: string): MaybePromise<void> {
  return after(makeStep(unlinkStep(dirFd, name), name), () => undefined)
}

/** Removes an empty directory. @throws ENOENT · ENOTDIR · ENOTEMPTY */
export async function rmdirAt(dirFd: number, name: string): Promise<void> {
  await call('unlinkat', name, unlinkat, dirFd, component('unlinkat', name), AT_REMOVEDIR)
}

/** renameat2(2) with its RENAME_ `flags`. Errors name `newName`. */
export async function renameAt(
  oldDirFd: number,
  oldName: string,
  newDirFd: number,
  newName: string,
  flags = 0,
): Promise<void> {
  await makeStep(renameStep(oldDirFd, oldName, newDirFd, newName, flags), newName)
}

/**
 * Gives the file `oldName` the name `newName` by an exchange, and then removes the replaced file. The visible effect is that of `renameAt`. After a failure
 * between the two calls, the replaced file is at `oldName`.
 *
 * @throws ENOENT `newName` does not exist
 */
export async function replaceByExchange(
  oldDirFd: number,
  oldName: string,
  newDirFd: number,
  newName: string,
): Promise<void> {
  const [exchanged, removed] = await tryCalls([
    renameStep(oldDirFd, oldName, newDirFd, newName, RENAME_EXCHANGE),
    unlinkStep(oldDirFd, oldName),
  ])
  if ((exchanged as number) < 0) throw sysError('renameat2', -(exchanged as number), newName)
  // The replaced file may have other names, which show its link count.
  if ((removed as number) < 0) await bestEffort(() => unlinkAt(oldDirFd, oldName))
}

/** The complete target of a symlink, or with '' of the symlink that the descriptor is open on. @throws EINVAL not a symlink */
export async function readlinkAt(dirFd: number, name: string): Promise<Uint8Array> {
  const out = Buffer.allocUnsafe(PATH_MAX)
  const path = name === '' ? cString('readlinkat', '') : component('readlinkat', name)
  const length = await call('readlinkat', name, readlinkat, dirFd, path, out, PATH_MAX)
  // A full buffer may mean a truncated target; no file system of Linux creates such a link.
  if (length === PATH_MAX) throw sysError('readlinkat', ENAMETOOLONG, name)
  return new Uint8Array(out.subarray(0, length))
}

/** The complete listing of a directory without `.` and `..`, in the file system's order. `fd` may be O_PATH; its offset does not change. */
export async function readdirFd(fd: number): Promise<RawDirEntry[]> {
  const buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(LISTING_BYTES)
  const entries: RawDirEntry[] = []
  let directory = -1
  try {
    const begun = await beginListing(fd, buffer)
    directory = begun.directory
    for (const { at, length } of begun.read) {
      if (length === 0) return entries
      decodeDirents(buffer.subarray(at), length, entries)
    }
    for (;;) {
      const length = await call('getdents64', undefined, getdents64, directory, buffer, LISTING_BYTES)
      if (length === 0) return entries
      decodeDirents(buffer, length, entries)
    }
  } finally {
    if (directory >= 0) closeSync(directory)
    if (spareBuffers.length < SPARE_BUFFERS) spareBuffers.push(buffer)
  }
}

/** The parts of the buffer that were read. */
interface Begun {
  readonly directory: number
  readonly read: readonly { readonly at: number; readonly length: number }[]
}

/** Opens the directory of `fd` for reading, and reads its first entries, in one trip; for most directories these are all. */
async function beginListing(fd: number, buffer: Buffer): Promise<Begun> {
  const second = buffer.subarray(FIRST_LISTING_BYTES, 2 * FIRST_LISTING_BYTES)
  const steps = [
    openDirectoryStep(fd),
    step('getdents64', getdents64, new ResultOf(0), buffer, FIRST_LISTING_BYTES),
    step('getdents64', getdents64, new ResultOf(0), second, FIRST_LISTING_BYTES),
  ]
  const [directory, ...lengths] = await tryCalls(steps)
  // This also tries other ways to open it, or reports why it cannot be opened.
  if ((directory as number) < 0) return { directory: await openDirectory(fd), read: [] }
  const failed = lengths.find((length) => length < 0)
  if (failed !== undefined) {
    closeSync(directory as number)
    throw sysError('getdents64', -failed)
  }
  return { directory: directory as number, read: lengths.map((length, i) => ({ at: i * FIRST_LISTING_BYTES, length })) }
}

/** struct linux_dirent64: ino 8, offset 8, record length 2, type 1, name with NUL. */
function decodeDirents(buffer: Buffer, length: number, entries: RawDirEntry[]): void {
  const view = new DataView(buffer.buffer, buffer.byteOffset, length)
  for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
    const name = buffer.toString('latin1', at + 19, buffer.indexOf(0, at + 19))
    if (name === '.' || name === '..') continue
    const ino = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true)
    // DT_ constants are the S_IFMT bits shifted down.
    entries.push({ name, ino, type: (buffer[at + 18] << 12) as FileType | 0 })
  }
}

/** `mkdirAt` as a step of `tryCalls`. */
export function mkdirStep(dirFd: number | ResultOf, name: string, mode: number): SystemCall {
  return step('mkdirat', mkdirat, dirFd, component('mkdirat', name), mode)
}

/** renameat2(2) as a step of `tryCalls`. */
export function renameStep(
  oldDirFd: number,
  oldName: string,
  newDirFd: number,
  newName: string,
  flags = 0,
): SystemCall {
  const from = component('renameat2', oldName)
  return step('renameat2', renameat2, oldDirFd, from, newDirFd, component('renameat2', newName), flags)
}

/** unlinkat(2) of a non-directory as a step of `tryCalls`. */
export function unlinkStep(dirFd: number, name: string): SystemCall {
  return step('unlinkat', unlinkat, dirFd, component('unlinkat', name), 0)
}

/** Removing an empty directory as a step of `tryCalls`. */
export function rmdirStep(dirFd: number, name: string): SystemCall {
  return {
    ...step('unlinkat', unlinkat, dirFd, component('unlinkat', name), AT_REMOVEDIR),
    flags: GOES_ON_AFTER_FAILURE,
  }
}

/** Receives the results of `listSteps`. */
export class ListOut {
  readonly memory = Buffer.allocUnsafeSlow(FIRST_LISTING_BYTES)
  readonly rest = Buffer.allocUnsafeSlow(MOST_ENTRY_BYTES)

  /** The names, after the steps have returned `length` and `restLength`; undefined if these are not all. */
  names(length: number, restLength: number): Set<string> | undefined {
    if (length < 0 || restLength !== 0) return undefined
    const entries: RawDirEntry[] = []
    decodeDirents(this.memory, length, entries)
    return new Set(entries.map(({ name }) => name))
  }
}

/** Reads a small directory that an earlier step has opened for reading, as steps of `tryCalls`. */
export function listSteps(fd: ResultOf, { memory, rest }: ListOut): SystemCall[] {
  return [memory, rest].map((out) => step('getdents64', getdents64, fd, out, out.length))
}
