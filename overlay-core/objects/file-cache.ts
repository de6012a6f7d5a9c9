import type { Clock } from '../api/clock.ts'
import { isErrno, OverlayError } from '../api/errno.ts'
import { FileType, type MaybePromise } from '../api/types.ts'
import type { BudgetedCache, CacheBudget, CacheShare } from '../base/cache-budget.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import { mayBeIno, type Real } from '../layer/layer.ts'
import { NEVER_WAITS, openForReading, openQuietly } from '../layer/real-open.ts'
import { onDescriptorShortage } from '../sys/descriptor-shares.ts'
import { O_NOATIME, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { closeInPool, closeLater, openAtCached } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import type { Charges } from './charges.ts'
import type { OvlInode } from './dentry.ts'
import { FileWriter } from './file-writer.ts'

/** An open descriptor of a real file, shared by all users of the inode. Once dropped, it is closed when its last user releases it. */
export class RealFile {
  readonly inode: OvlInode
  readonly fd: number
  writable: boolean
  /** Whether it is open on the upper object. */
  upper: boolean
  /** The number of calls and open files that use the descriptor. */
  users = 0
  dropped = false
  usedAtMs = 0
  readonly #charges: Charges | undefined
  #writer: FileWriter | undefined

  constructor(inode: OvlInode, fd: number, writable: boolean, upper: boolean, charges: Charges | undefined) {
    this.#charges = charges
    this.inode = inode
    this.fd = fd
    this.writable = writable
    this.upper = upper
  }

  /** The queue of writes to this file; only for a writable file, and only while the caller uses it. */
  get writer(): FileWriter {
    this.#writer ??= new FileWriter(this.inode, this.fd, this.#charges)
    return this.#writer
  }
}

/** Makes the object writable before an open for writing. */
type CopyUp = (inode: OvlInode) => MaybePromise<void>

/** The options of a `FileCache`: how many idle files it keeps open, for how long, and the function that copies a file up before it is opened for writing. */
export interface FileCacheOptions {
  /** The maximum number of files. */
  readonly limit: number
  /** Counts the open files of all overlays. */
  readonly budget: CacheBudget
  readonly idleMs: number
  readonly clock: Clock
  readonly descriptors: Descriptors
  readonly copyUp: CopyUp
  readonly charges: Charges | undefined
}

/**
 * Open real files for stateless protocols and for open handles: one per inode, at most `limit` of them, or more while all are in use. Idle ones are closed after
 * `idleMs`. A dropped file that somebody uses stays open until the last user releases it. One whose last name is gone stays open only while somebody uses it, because it
 * keeps its space.
 */
export class FileCache implements BudgetedCache {
  readonly #limit: number
  readonly #share: CacheShare
  readonly #idleMs: number
  readonly #clock: Clock
  readonly #descriptors: Descriptors
  readonly #copyUp: CopyUp
  readonly #charges: Charges | undefined
  readonly #files = new Set<RealFile>()
  /** Ends what is needed only while files are open: the sweep, and closing files at a shortage of descriptors. */
  #stop: (() => void) | undefined

  constructor({ limit, budget, idleMs, clock, descriptors, copyUp, charges }: FileCacheOptions) {
    this.#limit = limit
    this.#share = budget.join(this)
    this.#idleMs = idleMs
    this.#clock = clock
    this.#descriptors = descriptors
    this.#copyUp = copyUp
    this.#charges = charges
  }

  get size(): number {
    return this.#files.size
  }

  /**
   * Opens the real file of `inode`, to be used until `release`. With `write` it is copied up first.
   *
   * @throws ESTALE no name is left and it is not open · EINVAL not a regular file (EISDIR a directory) · like `copyUp`
   */
  acquire(inode: OvlInode, write: boolean): MaybePromise<RealFile> {
    const file = inode.file
    if (file !== undefined && (!write || file.writable)) {
      this.#share.use()
      file.users++
      return file
    }
    return this.#open(inode, write)
  }

  release(file: RealFile): void {
    file.users--
    if (file.users > 0) return
    if (file.dropped) void this.#close(file)
    else if (file.inode.unlinked) this.drop(file.inode)
    else file.usedAtMs = this.#clock.now()
  }

  /** After a copy-up: drops a descriptor of the lower, so that the next use opens the upper. */
  retarget(inode: OvlInode): void {
    if (inode.file && !inode.file.upper) this.drop(inode)
  }

  /** Takes over the descriptor of the new upper file of `inode`, which is open for writing. The inode must have no other open file. */
  adopt(inode: OvlInode, fd: number): void {
    // The name may have been removed since the file was given it.
    if (inode.unlinked) {
      closeLater(fd)
      return
    }
    const file = this.#add(inode, fd, true, true)
    file.usedAtMs = this.#clock.now()
    this.#count(file)
  }

  /** Drops the open file of `inode`; present users keep it. */
  drop(inode: OvlInode): void {
    const file = inode.file
    if (!file) return
    inode.file = undefined
    file.dropped = true
    if (file.users === 0) void this.#close(file)
  }

  /**
   * After the last name of `inode` was removed: closes its open file if nobody uses it; otherwise the last user does. Resolves when it is closed, because
   * only then its space is free; undefined if there is nothing to wait for.
   */
  leave(inode: OvlInode): Promise<void> | undefined {
    const { file } = inode
    if (file?.users !== 0) return undefined
    inode.file = undefined
    file.dropped = true
    const closed = this.#close(file)
    // A lower keeps its space.
    return file.upper ? closed : undefined
  }

  /** Keeps the files of the upper open only for reading, because the upper has become a lower. Those without a name are in no layer. */
  freeze(): void {
    for (const file of this.#files) {
      if (file.inode.unlinked) continue
      file.upper = false
      file.writable = false
    }
  }

  /** Closes all unused files of lowers. */
  dropIdleLower(): void {
    for (const file of this.#files) if (!file.upper && file.users === 0) this.drop(file.inode)
  }

  /** Closes everything, even if in use. */
  closeAll(): void {
    for (const file of this.#files) {
      file.inode.file = undefined
      closeLater(file.fd)
    }
    this.#files.clear()
    this.#share.clear()
    this.#rest()
  }

  #open(inode: OvlInode, write: boolean): MaybePromise<RealFile> {
    if (inode.type === FileType.directory) throw new OverlayError('EISDIR', 'open')
    if (inode.type !== FileType.regular) throw new OverlayError('EINVAL', 'open')
    if (inode.unlinked) throw new OverlayError('ESTALE', 'open')
    if (!write && inode.real.layer.local) {
      const data = inode.dataReal ?? inode.real
      const dirFd = data.parent ? this.#descriptors.of(data.parent) : undefined
      // If this fails, the call below fails in the same way and reports it.
      if (dirFd instanceof Promise) dirFd.catch(() => undefined)
      if (typeof dirFd === 'number') {
        const fd = openCached(dirFd, data)
        if (fd >= 0) return this.#install(inode, fd, data, data.layer.isUpper)
      }
    }
    return this.#descriptors.run(() => this.#openWaiting(inode, write))
  }

  async #openWaiting(inode: OvlInode, write: boolean): Promise<RealFile> {
    if (write) await this.#copyUp(inode)
    const { file } = inode
    if (write && file?.writable) {
      file.users++
      return file
    }
    try {
      return await this.#openInPlace(inode, write)
    } catch (error) {
      if (!isErrno(error)) throw error
    }
    // The file may just have been moved from its place. Under the lock it cannot move.
    return await inode.nodeLock.shared(() => this.#openInPlace(inode, write))
  }

  async #openInPlace(inode: OvlInode, write: boolean): Promise<RealFile> {
    for (;;) {
      if (inode.unlinked) throw new OverlayError('ESTALE', 'open')
      const real = inode.dataReal ?? inode.real
      // A lower is never written: it may be a snapshot.
      if (write && !real.layer.isUpper) throw new OverlayError('ESTALE', 'open')
      // An object without a known name is opened again through its own descriptor.
      const dirFd = await this.#descriptors.of(real.parent ?? real)
      const wantWrite = write || real.layer.isUpper
      const [fd, writable] = await openReal(dirFd, real, wantWrite, write)
      // After a copy-up in between, the descriptor of the lower is already outdated.
      if ((inode.dataReal ?? inode.real) === real) return this.#install(inode, fd, real, writable)
      closeLater(fd)
    }
  }

  #install(inode: OvlInode, fd: number, real: Real, writable: boolean): RealFile {
    const present = inode.file
    if (present && (present.writable || !writable)) {
      closeLater(fd)
      present.users++
      return present
    }
    this.drop(inode)
    const file = this.#add(inode, fd, writable, real.layer.isUpper)
    file.users++
    this.#count(file)
    return file
  }

  #add(inode: OvlInode, fd: number, writable: boolean, upper: boolean): RealFile {
    const file = new RealFile(inode, fd, writable, upper, this.#charges)
    inode.file = file
    this.#files.add(file)
    this.#stop ??= this.#watch()
    return file
  }

  /** Counts the new file `file`, and closes others if there are too many. */
  #count(file: RealFile): void {
    file.users++
    this.#share.grow(1)
    this.#share.use()
    this.#keepTo(this.#limit)
    file.users--
  }

  #watch(): () => void {
    const stopSweep = this.#clock.every(Math.max(1000, this.#idleMs / 2), () => this.#sweep())
    const endYielding = onDescriptorShortage(() => this.giveUp(Math.ceil(this.#files.size / 2)))
    return () => {
      stopSweep()
      endYielding()
    }
  }

  #rest(): void {
    this.#stop?.()
    this.#stop = undefined
  }

  /** Closes unused files, those opened first. */
  giveUp(count: number): void {
    this.#keepTo(this.#files.size - count)
  }

  #keepTo(limit: number): void {
    if (this.#files.size <= limit) return
    for (const file of this.#files) {
      if (this.#files.size <= limit) return
      if (file.users === 0) this.drop(file.inode)
    }
  }

  #sweep(): void {
    const before = this.#clock.now() - this.#idleMs
    for (const file of this.#files) if (file.users === 0 && file.usedAtMs < before) this.drop(file.inode)
  }

  #close(file: RealFile): Promise<void> | undefined {
    // After `closeAll`, its descriptor is closed.
    if (!this.#files.delete(file)) return undefined
    this.#share.shrink(1)
    const closed = closeInPool(file.fd)
    if (this.#files.size === 0) this.#rest()
    return closed
  }
}

/** The errors of an open if the name is now absent, a whiteout, a symlink or a directory. */
const NOT_THE_FILE = ['ENOENT', 'ENXIO', 'ELOOP', 'EISDIR'] as const

/** Whether `fd` is open on `real`; otherwise closes it, because the name now belongs to another file. */
function isReal(fd: number, real: Real): boolean {
  let same = false
  try {
    same = mayBeIno(real, statxFd(fd).ino)
    return same
  } finally {
    if (!same) closeLater(fd)
  }
}

/** Opens synchronously; returns -1 if the open must be repeated where waiting is possible. */
function openCached(dirFd: number, real: Real): number {
  const flags = (real.layer.isUpper ? O_RDWR : O_RDONLY) | O_NOATIME
  let fd: number
  try {
    fd = openAtCached(dirFd, real.name, flags | NEVER_WAITS)
  } catch (error) {
    if (isErrno(error)) return -1
    throw error
  }
  return fd < 0 || isReal(fd, real) ? fd : -1
}

/**
 * Opens a real file; only for reading if writing is not needed and not permitted. Returns the descriptor and whether it can write.
 *
 * @throws ESTALE another object is at its place
 */
async function openReal(dirFd: number, real: Real, wantWrite: boolean, mustWrite: boolean): Promise<[number, boolean]> {
  try {
    const opened = await openByName(dirFd, real.name, wantWrite, mustWrite)
    if (isReal(opened[0], real)) return opened
  } catch (error) {
    if (!isErrno(error, ...NOT_THE_FILE)) throw error
  }
  throw new OverlayError('ESTALE', 'open')
}

async function openByName(
  dirFd: number,
  name: string,
  wantWrite: boolean,
  mustWrite: boolean,
): Promise<[number, boolean]> {
  if (wantWrite) {
    try {
      return [await openQuietly(dirFd, name, O_RDWR), true]
    } catch (error) {
      if (mustWrite || !isErrno(error, 'EACCES', 'EPERM', 'EROFS')) throw error
    }
  }
  return [await openForReading(dirFd, name), false]
}
