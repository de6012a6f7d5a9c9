/** The nouns of overlay-core: what adapters see of an overlay. */

/** A value at once, or a promise of it where the answer has to wait for a disk. Hot calls answer at once from caches. */
export type MaybePromise<T> = T | Promise<T>

/**
 * One path component. Every code unit is one byte (latin1), so that names of any bytes survive and make good map keys.
 * Never empty, `.`, `..`, longer than 255, or with `/` or NUL: core refuses those with EINVAL, ENAMETOOLONG.
 * Only an adapter whose protocol speaks Unicode converts (UTF-8), at its edge.
 */
export type Name = string

/** On whose behalf a call is made: what AUTH_SYS or a login gives. uid 0 has the powers of root inside the overlay. */
export interface Cred {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups. */
  readonly groups: readonly number[]
  /** True for whoever leaves no setuid and setgid on a file by writing to it, root included: as without CAP_FSETID, and more strictly. */
  readonly dropsPrivilege?: boolean
}

/** File types, by their `S_IFMT` bits (`stat.h`). */
export const FileType = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  regular: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const
export type FileType = (typeof FileType)[keyof typeof FileType]

/** A point in time: seconds since the epoch (may be negative) and nanoseconds 0…999,999,999. */
export interface Time {
  readonly sec: number
  readonly nsec: number
}

/** Attributes of an object as a client sees them. Immutable: a change makes a new one. Some may be accessors, so copy them by name, not by `...`. */
export interface Attr {
  readonly type: FileType
  /** Permission bits with setuid, setgid and sticky: 0…0o7777. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** Bytes. */
  readonly size: number
  /** Allocated, in units of 512 bytes. */
  readonly blocks: number
  readonly rdevMajor: number
  readonly rdevMinor: number
  /** The 64-bit file id (inode number) that never changes for an object: high and low 32 bits, unsigned. */
  readonly fileIdHi: number
  readonly fileIdLo: number
  readonly atime: Time
  readonly mtime: Time
  readonly ctime: Time
  /** Creation time where the real file system keeps one. */
  readonly btime: Time | undefined
}

/** A new time for an object: as given, or the server's clock. */
export type SetTime = Time | 'now'

/** Attributes to change; what is absent stays. */
export interface AttrChange {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  readonly atime?: SetTime
  readonly mtime?: SetTime
}

/** Bits of `access`: as `R_OK`, `W_OK`, `X_OK` of access(2). */
export const Access = { read: 4, write: 2, execute: 1 } as const

/**
 * An object of the overlay: file, directory, symlink or special file. Adapters treat it as a token: they pass it back
 * to the Overlay it came from. It stays usable after it was dropped from the caches (it is found again by its name) and
 * after its last name went (then only as long as its real file is open); otherwise calls answer ESTALE.
 */
export interface Inode {
  /** Identity inside the overlay, a safe integer: stable across copy-up, rename, eviction and restart. */
  readonly key: number
  /** 32-bit generation: tells a new object from a dead one with the same key. */
  readonly generation: number
  readonly type: FileType
}

/** What a lookup reports beside the object. Pass an empty one: it is filled with the attributes of the object that was found and of the directory. */
export interface LookupAttrs {
  attr?: Attr | undefined
  dirAttr?: Attr | undefined
}

/**
 * Where what a name means comes from: a lower alone, the upper alone, the upper in the place of what a lower has (`changed`; for a directory: both,
 * merged). Of a name that means nothing: hidden by a whiteout (`removed`), or nowhere (`absent`).
 */
export type Provenance = 'lower' | 'upper' | 'changed' | 'removed' | 'absent'

/** One name of a directory listing. */
export interface DirEntry {
  readonly name: Name
  readonly type: FileType
  readonly fileIdHi: number
  readonly fileIdLo: number
  /** Where to go on after this entry: a positive safe integer, valid across changes of the directory and restarts. */
  readonly cookie: number
}

/** A directory entry with its object, as far as the caller may search the directory. */
export interface DirEntryPlus extends DirEntry {
  readonly inode: Inode | undefined
  readonly attr: Attr | undefined
}

/**
 * What a change did to the attributes of one object, so that a client can tell whether its cache is still good. Pass an empty one to a changing
 * call: it is filled while the object is locked. `before` stays undefined where other writes overlapped, as then no honest value exists.
 */
export interface ChangeInfo {
  before?: Attr
  after?: Attr
}

/** What statfs(2) tells of the upper file system (of the top lower when read-only). Sizes in bytes. */
export interface StatFs {
  readonly totalBytes: number
  readonly freeBytes: number
  /** Free to an ordinary user. */
  readonly availableBytes: number
  readonly totalFiles: number
  readonly freeFiles: number
  readonly nameMax: number
  readonly blockSize: number
}

/** How safe written data must be before the call returns (RFC 1813 `stable_how`). */
export type Stability = 'unstable' | 'data' | 'file'

/** How to make a new object in `create`, `mkdir`, `symlink`, `mknod`. `mode` holds 0o7777 bits; no umask is applied. */
export interface CreateOptions {
  readonly mode: number
  /** Set at birth when given; subject to the rules of `setattr`. */
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  readonly atime?: SetTime
  readonly mtime?: SetTime
}

/**
 * An open file. Reads and writes go straight to the real file; it follows a copy-up, and an unlinked file stays readable and
 * writable until `close`. The access mode was checked at open. Adapters must close it, also after errors.
 */
export interface OpenFile {
  readonly inode: Inode
  /**
   * Reads up to `length` bytes at `position` of the file into `buffer` at `offset`; returns the number read, 0 at the end.
   * At once when the page cache has the data, else from the pool.
   */
  read(buffer: Uint8Array, offset: number, length: number, position: number): MaybePromise<number>
  /** As `read`, but never on the event loop and maybe less than `length`: for streams, whose next piece is fetched while one is sent. */
  readAside(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number>
  /** Where the next data at or after `position` begins; the end of the file when only a hole follows. A hole that the file system does not tell of counts as data. */
  nextData(position: number): Promise<number>
  /** Writes all of `data` at `position`. @throws EBADF opened for reading · ENOSPC | EDQUOT | EFBIG | EIO */
  write(data: Uint8Array, position: number): MaybePromise<void>
  /** Sets the size, whatever the mode says by now. @throws EBADF opened for reading · EFBIG | EINVAL | ENOSPC */
  truncate(size: number): Promise<void>
  /** Makes data and attributes durable (fsync). */
  sync(): Promise<void>
  getattr(): MaybePromise<Attr>
  close(): void
}

/**
 * A file being built aside, in the workdir: invisible until `publish`. Adapters must end it with `publish` or `discard`.
 */
export interface StagedFile {
  /** Appends all `chunks` in order. */
  append(chunks: readonly Uint8Array[]): Promise<void>
  /** Appends so many zeros, as a hole that takes no room. */
  skip(bytes: number): void
  /** Bytes appended so far. */
  readonly sizeBytes: number
  /**
   * Puts the file at `name` by one rename. An existing regular file there is replaced; its mode, owner, group and extended
   * attributes carry over to the new one. `check` runs under the directory lock with what stands at the name now, and may throw
   * to give up. `durable` adds an fsync of the file before and of the directory after.
   *
   * @throws EISDIR a directory stands there · EACCES | EPERM | EROFS | ENOSPC …
   */
  publish(options: PublishOptions): Promise<Inode>
  discard(): Promise<void>
  /** Lets go of a kept file, which stays for the next mount; another one is discarded. */
  suspend(): Promise<void>
}

/** Has a staged file outlive the process: `resumableStages` of the next mount finds it by its id, with what its maker says `about` it. */
export interface ResumableOptions {
  /** Digits, small letters and hyphens, at most 64. */
  readonly id: string
  /** At most 64 KiB. */
  readonly about: Uint8Array
}

/** A staged file that was kept. */
export interface ResumableStage extends ResumableOptions {
  readonly staged: StagedFile
  /** When something was last added, seconds since the epoch. */
  readonly mtimeSec: number
}

/** What a staged file will most likely have when it is published; `publish` decides all the same. Owner and group: the caller's, unless given. */
export interface Foreseen {
  readonly mode: number
  readonly uid?: number
  readonly gid?: number
}

export interface PublishOptions {
  readonly dir: Inode
  readonly name: Name
  /** For a new file. */
  readonly mode: number
  readonly mtime?: Time
  readonly check?: (current: Inode | undefined, attr: Attr | undefined) => void
  readonly durable?: boolean
  /**
   * A present file with several names stays the file it is, and all of its names see the new content: it is written in place, so that whoever reads meanwhile may see old
   * and new mixed. A crash leaves no mixture.
   */
  readonly keepLinks?: boolean
}

/** Owner, group and mode of an object. */
export interface Ownership {
  readonly uid: number
  readonly gid: number
  readonly mode: number
}
