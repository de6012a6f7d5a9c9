/** The types of overlay-core that adapters use. */

/** A value, or a promise of it if it has to wait for a disk. Hot calls return at once from caches. */
export type MaybePromise<T> = T | Promise<T>

/**
 * One path component. Every code unit is one byte (latin1), so that names of any bytes survive and make good map keys.
 * Never empty, `.`, `..`, longer than 255, or with `/` or NUL: core refuses those with EINVAL, ENAMETOOLONG.
 * Only an adapter whose protocol speaks Unicode converts (UTF-8), at its edge.
 */
export type Name = string

/** The caller of an operation, from AUTH_SYS or a login. uid 0 has the powers of root inside the overlay. */
export interface Cred {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups. */
  readonly groups: readonly number[]
  /** True if a write by this caller always removes setuid and setgid, even for root: like a process without CAP_FSETID, but stricter. */
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

/** The attributes of an object as clients see them. Immutable: a change creates a new one. Some may be accessors, so copy them by name, not with `...`. */
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
  /** The creation time, if the real file system stores one. */
  readonly btime: Time | undefined
}

/** A new time for an object: a given time, or the server's clock. */
export type SetTime = Time | 'now'

/** Attributes to change; missing ones stay. */
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
 * after its last name was removed (then only as long as its real file is open); otherwise calls fail with ESTALE.
 */
export interface Inode {
  /** Identity inside the overlay, a safe integer: stable across copy-up, rename, eviction and restart. */
  readonly key: number
  /** 32-bit generation: distinguishes a new object from a removed one with the same key. */
  readonly generation: number
  readonly type: FileType
}

/** Additional results of a lookup. Pass an empty one; it is filled with the attributes of the found object and of the directory. */
export interface LookupAttrs {
  attr?: Attr | undefined
  dirAttr?: Attr | undefined
}

/**
 * The layers that a name comes from: a lower only, the upper only, or the upper over a lower (`changed`; for a directory: both,
 * merged). For a name without an object: hidden by a whiteout (`removed`), or in no layer (`absent`).
 */
export type Provenance = 'lower' | 'upper' | 'changed' | 'removed' | 'absent'

/** One name of a directory listing. */
export interface DirEntry {
  readonly name: Name
  readonly type: FileType
  readonly fileIdHi: number
  readonly fileIdLo: number
  /** The position after this entry, from which to continue: a positive safe integer, valid across changes of the directory and restarts. */
  readonly cookie: number
}

/** A directory entry with its object, if the caller may search the directory. */
export interface DirEntryPlus extends DirEntry {
  readonly inode: Inode | undefined
  readonly attr: Attr | undefined
}

/**
 * The attributes of an object before and after a change, so that a client can tell whether its cache is valid. Pass an empty one to a changing
 * call; it is filled while the object is locked. `before` stays undefined if other writes overlapped, because then no correct value exists.
 */
export interface ChangeInfo {
  before?: Attr
  after?: Attr
}

/** The result of statfs(2) on the upper file system (the top lower's if read-only). Sizes in bytes. */
export interface StatFs {
  readonly totalBytes: number
  readonly freeBytes: number
  /** Available to an ordinary user. */
  readonly availableBytes: number
  readonly totalFiles: number
  readonly freeFiles: number
  readonly nameMax: number
  readonly blockSize: number
}

/** How safe written data must be before the call returns (RFC 1813 `stable_how`). */
export type Stability = 'unstable' | 'data' | 'file'

/** What a freeze puts in the place of the upper. */
export interface FreshUpper {
  /**
   * The paths at which it differs from what lies below. If the present upper contains something at one of them, nothing is changed (EBUSY), because what was prepared
   * does not know of that.
   */
  readonly paths: readonly (readonly Name[])[]
}

/** Attributes of a new object for `create`, `mkdir`, `symlink`, `mknod`. `mode` has 0o7777 bits; no umask is applied. */
export interface CreateOptions {
  readonly mode: number
  /** Set at creation if given; subject to the rules of `setattr`. */
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  readonly atime?: SetTime
  readonly mtime?: SetTime
}

/**
 * An open file. Reads and writes go directly to the real file; it follows a copy-up, and an unlinked file stays readable and
 * writable until `close`. The access mode was checked at open. Adapters must close it, also after errors.
 */
export interface OpenFile {
  readonly inode: Inode
  /**
   * Reads up to `length` bytes at `position` of the file into `buffer` at `offset`; returns the number read, 0 at the end.
   * Synchronous if the page cache has the data, otherwise in the pool.
   */
  read(buffer: Uint8Array, offset: number, length: number, position: number): MaybePromise<number>
  /** Like `read`, but never on the event loop and possibly less than `length`: for streams, which read ahead while a piece is sent. */
  readAside(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number>
  /** The start of the next data at or after `position`, or the end of the file if only a hole follows. A hole that the file system does not report counts as data. */
  nextData(position: number): Promise<number>
  /** The start of the next hole at or after `position`; the end of the file counts as one. */
  nextHole(position: number): Promise<number>
  /** Writes all of `data` at `position`. @throws EBADF opened for reading · ENOSPC | EDQUOT | EFBIG | EIO */
  write(data: Uint8Array, position: number): MaybePromise<void>
  /** Sets the size regardless of the present mode. @throws EBADF opened for reading · EFBIG | EINVAL | ENOSPC */
  truncate(size: number): Promise<void>
  /** Makes data and attributes durable (fsync). */
  sync(): Promise<void>
  getattr(): MaybePromise<Attr>
  close(): void
}

/**
 * A file being built in the workdir, invisible until `publish`. Adapters must end it with `publish` or `discard`.
 */
export interface StagedFile {
  /** Appends all `chunks` in order. */
  append(chunks: readonly Uint8Array[]): Promise<void>
  /** Appends zeros as a hole, which takes no space. */
  skip(bytes: number): void
  /** Bytes appended so far. */
  readonly sizeBytes: number
  /**
   * Publishes the file as `name` by one rename. It replaces an existing regular file, whose mode, owner, group and extended
   * attributes it takes over. `check` runs under the directory lock with the present object, and may throw
   * to abort. `durable` adds an fsync of the file before and of the directory after.
   *
   * @throws EISDIR the name is a directory · EACCES | EPERM | EROFS | ENOSPC …
   */
  publish(options: PublishOptions): Promise<Inode>
  discard(): Promise<void>
  /** Closes a resumable file, which stays for the next mount; another one is discarded. */
  suspend(): Promise<void>
}

/** Makes a staged file survive the process: `resumableStages` of the next mount returns it with its id and the data `about` it. */
export interface ResumableOptions {
  /** Digits, lower-case letters and hyphens, at most 64. */
  readonly id: string
  /** At most 64 KiB. */
  readonly about: Uint8Array
}

/** Who publishes a resumable staged file, from the data about it; undefined: the owner of the file. */
export type CredOf = (about: Uint8Array) => Cred | undefined

/** A resumable staged file of an earlier mount. */
export interface ResumableStage extends ResumableOptions {
  /** The owner of the file. */
  readonly uid: number
  readonly staged: StagedFile
  /** The time of the last append, in seconds since the epoch. */
  readonly mtimeSec: number
}

/** The expected attributes of a staged file at `publish`, which has the final say. Owner and group default to the caller's. */
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
   * An existing file with several names is kept, and all of its names get the new content: it is overwritten in place, so that concurrent readers may see old
   * and new data mixed. A crash leaves no mixture.
   */
  readonly keepLinks?: boolean
}

/** Owner, group and mode of an object. */
export interface Ownership {
  readonly uid: number
  readonly gid: number
  readonly mode: number
}
