import type { FileType, Time } from '../api/types.ts'
import { component, cString } from './argument.ts'
import { addressOf, bind, bindSlow, call, lastErrno, makeStep, type ResultOf, type SystemCall, step } from './call.ts'
import { sysError } from './error.ts'
import { faultNow } from './fault.ts'
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, S_IFMT } from './flags.ts'
import { WANTS_NOTHING } from './thread-layout.ts'

const EINTR = 4
const STATX_BTIME = 0x800
/** STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID */
const WANTED = 0x7ff | STATX_BTIME | 0x1000
const AT_STATX_DONT_SYNC = 0x4000
/** Since Linux 6.8: an id of a mount that is not reused until the next boot. */
const STATX_MNT_ID_UNIQUE = 0x4000
const SIZE_OF_STATX = 256
const SIZE_OF_STATFS = 120
/** One mebibyte, in units of 512 bytes. */
const MOST_BLOCKS = 2048
const TWO_32 = 0x1_0000_0000

const statx = bind<[dirFd: number, name: Uint8Array, flags: number, mask: number, out: Uint8Array]>(
  'int statx(int, const void *, int, uint32_t, void *)',
)
const statxAddress = bind<[fd: number, name: number, flags: number, mask: number, out: number]>(
  'int statx(int, uintptr_t, int, uint32_t, uintptr_t)',
)
const fstatfs = bindSlow<[fd: number, out: Uint8Array]>('int fstatfs(int, void *)')

// Reused by `statxFd`, which is synchronous: the struct, followed by the empty name.
const scratch = new DataView(new ArrayBuffer(SIZE_OF_STATX + 8))
const scratchAddress = addressOf(scratch)
const emptyNameAddress = scratchAddress + SIZE_OF_STATX

/** The result of statx(2). 64-bit values are numbers, exact up to 2^53; `inoHi` and `inoLo` are always exact. */
export interface Stat {
  readonly type: FileType
  /** 0…0o7777. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** In units of 512 bytes. */
  readonly blocks: number
  readonly rdevMajor: number
  readonly rdevMinor: number
  readonly devMajor: number
  readonly devMinor: number
  readonly ino: number
  readonly inoHi: number
  readonly inoLo: number
  readonly atime: Time
  readonly mtime: Time
  readonly ctime: Time
  readonly btime: Time | undefined
  readonly mountId: number
  /** Distinguishes objects with the same inode number if the file system's birth times do not (`PathNumbers`). */
  readonly generation?: number
}

/** The result of statfs(2); block counts are in units of `blockSize` bytes. */
export interface FileSystemStat {
  readonly type: number
  readonly blockSize: number
  readonly blocks: number
  readonly blocksFree: number
  readonly blocksAvailable: number
  readonly files: number
  readonly filesFree: number
  readonly nameMax: number
  /** `f_fsid`: two 32-bit words, whose meaning depends on the file system. */
  readonly idHi: number
  readonly idLo: number
}

/**
 * The attributes of an open descriptor (O_PATH suffices), synchronously. A network or FUSE file system answers from its cache, because
 * asking its server could take forever (AT_STATX_DONT_SYNC); local ones always answer exactly.
 */
export function statxFd(fd: number): Stat {
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC
  for (;;) {
    const fault = faultNow('statx')
    const failed = fault > 0 || statxAddress(fd, emptyNameAddress, flags, WANTED, scratchAddress) !== 0
    if (!failed) return decodeStatx(scratch)
    const errno = fault > 0 ? fault : lastErrno()
    if (errno !== EINTR) throw sysError('statx', errno)
  }
}

/** Like `statxFd`, but a network or FUSE file system asks its server if its cached attributes may be outdated. */
export async function statxFdAsking(fd: number): Promise<Stat> {
  const out = new StatOut()
  await makeStep(statStep(fd, out, AT_EMPTY_PATH))
  return out.stat
}

/** The attributes of `name` in the directory, without following a symlink. @throws ENOENT … */
export async function statxAt(dirFd: number, name: string): Promise<Stat> {
  const out = new DataView(new ArrayBuffer(SIZE_OF_STATX))
  const memory = new Uint8Array(out.buffer)
  await call('statx', name, statx, dirFd, component('statx', name), AT_SYMLINK_NOFOLLOW, WANTED, memory)
  return decodeStatx(out)
}

/** The id of the mount that `fd` is on, as text; it is not reused until the next boot. Undefined before Linux 6.8. */
export async function uniqueMountId(fd: number): Promise<string | undefined> {
  const out = new DataView(new ArrayBuffer(SIZE_OF_STATX))
  const mask = STATX_MNT_ID_UNIQUE
  await call('statx', undefined, statx, fd, cString('statx', ''), AT_EMPTY_PATH, mask, new Uint8Array(out.buffer))
  return mountIdIn(out)
}

function mountIdIn(view: DataView): string | undefined {
  const known = (view.getUint32(0, true) & STATX_MNT_ID_UNIQUE) !== 0
  return known ? view.getBigUint64(144, true).toString() : undefined
}

/** Whether removing this name frees little space; otherwise the removal takes long. Synchronous, to be called right before the removal. */
export function freesLittle(dirFd: number, name: Uint8Array): boolean {
  const failed = statxAddress(dirFd, addressOf(name), AT_SYMLINK_NOFOLLOW, WANTED, scratchAddress) !== 0
  return failed || scratch.getUint32(16, true) > 1 || unsigned64(scratch, 48) <= MOST_BLOCKS
}

/** The statistics of the file system that `fd` is on. */
export async function statfsFd(fd: number): Promise<FileSystemStat> {
  const out = new DataView(new ArrayBuffer(SIZE_OF_STATFS))
  await call('fstatfs', undefined, fstatfs, fd, new Uint8Array(out.buffer))
  return {
    type: out.getUint32(0, true),
    // Block counts are in fragments if the file system sets f_frsize.
    blockSize: unsigned64(out, 72) || unsigned64(out, 8),
    blocks: unsigned64(out, 16),
    blocksFree: unsigned64(out, 24),
    blocksAvailable: unsigned64(out, 32),
    files: unsigned64(out, 40),
    filesFree: unsigned64(out, 48),
    nameMax: unsigned64(out, 64),
    idHi: out.getUint32(56, true),
    idLo: out.getUint32(60, true),
  }
}

function unsigned64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true)
}

/** struct statx_timestamp: a signed 64-bit second and an unsigned nanosecond. */
function timeAt(view: DataView, at: number): Time {
  return { sec: view.getInt32(at + 4, true) * TWO_32 + view.getUint32(at, true), nsec: view.getUint32(at + 8, true) }
}

/** struct statx of linux/stat.h, the same on every architecture. */
function decodeStatx(view: DataView): Stat {
  const mode = view.getUint16(28, true)
  const inoLo = view.getUint32(32, true)
  const inoHi = view.getUint32(36, true)
  return {
    type: (mode & S_IFMT) as FileType,
    mode: mode & 0o7777,
    nlink: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    size: unsigned64(view, 40),
    blocks: unsigned64(view, 48),
    rdevMajor: view.getUint32(128, true),
    rdevMinor: view.getUint32(132, true),
    devMajor: view.getUint32(136, true),
    devMinor: view.getUint32(140, true),
    ino: inoHi * TWO_32 + inoLo,
    inoHi,
    inoLo,
    atime: timeAt(view, 64),
    mtime: timeAt(view, 112),
    ctime: timeAt(view, 96),
    btime: (view.getUint32(0, true) & STATX_BTIME) === 0 ? undefined : timeAt(view, 80),
    mountId: unsigned64(view, 144),
  }
}

const anyStat = new Uint8Array(new ArrayBuffer(SIZE_OF_STATX))

/** A step of `tryCalls` that lets the next one run only if the directory has no `name`. */
export function absentStep(dirFd: number, name: string): SystemCall {
  const flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC
  return { ...step('statx', statx, dirFd, component('statx', name), flags, 0, anyStat), flags: WANTS_NOTHING }
}

/** Receives the result of `statStep`. */
export class StatOut {
  readonly memory = new Uint8Array(new ArrayBuffer(SIZE_OF_STATX))

  /** The attributes, after the step was made. */
  get stat(): Stat {
    return decodeStatx(new DataView(this.memory.buffer))
  }

  /** The result of `uniqueMountStep`. */
  get uniqueMountId(): string | undefined {
    return mountIdIn(new DataView(this.memory.buffer))
  }
}

/** `statxFd` as a step of `tryCalls`; without AT_STATX_DONT_SYNC in `flags`, `statxFdAsking`. */
export function statStep(fd: number | ResultOf, out: StatOut, flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC): SystemCall {
  return step('statx', statx, fd, cString('statx', ''), flags, WANTED, out.memory)
}

/** `uniqueMountId` as a step of `tryCalls`. */
export function uniqueMountStep(fd: number | ResultOf, out: StatOut): SystemCall {
  return step('statx', statx, fd, cString('statx', ''), AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, out.memory)
}
