import type { MountOptions } from './params.ts'
import type {
  Attr,
  AttrChange,
  ChangeInfo,
  CreateOptions,
  Cred,
  CredOf,
  DirEntry,
  DirEntryPlus,
  FileType,
  Foreseen,
  FreshUpper,
  Inode,
  LookupAttrs,
  MaybePromise,
  Name,
  OpenFile,
  Provenance,
  ResumableOptions,
  ResumableStage,
  Stability,
  StagedFile,
  StatFs,
} from './types.ts'

/**
 * One mounted overlay. Every method checks the caller's permission as the kernel would for that uid and gid, throws
 * `OverlayError` only (synchronously or by rejection), and never blocks the event loop on a disk.
 *
 * Common errors: ESTALE the object is gone · EACCES | EPERM · EROFS there is no upper · ENOTDIR `dir` is not a directory ·
 * EINVAL | ENAMETOOLONG the name is not one component · ENOSPC | EDQUOT | EIO from the real file system.
 */
export interface Overlay {
  readonly root: Inode
  /** True if there is no upper or it must not be written: every change fails with EROFS. `remount` can change it. */
  readonly readOnly: boolean
  /** Limitations of the storage of the upper and their consequences, as sentences for the operator. None on ext4, xfs, btrfs and tmpfs. */
  readonly notices: readonly string[]
  /** 16 bytes that identify this upper (these lowers, if read-only) across restarts. */
  readonly uuid: Uint8Array

  /** The object named `name` in `dir`, or undefined, and the attributes requested by `asked`. Needs search permission. */
  lookup(cred: Cred, dir: Inode, name: Name, asked?: LookupAttrs): MaybePromise<Inode | undefined>
  /** The parent of directory `dir`, and the attributes requested by `asked`; the root is its own parent. Needs search permission on `dir`. */
  parent(cred: Cred, dir: Inode, asked?: LookupAttrs): MaybePromise<Inode>
  /**
   * The presently known paths from the root to this object, as names: at least the one of its last lookup, none if it is
   * unlinked. Returns at once.
   */
  paths(inode: Inode): readonly (readonly Name[])[]
  /** The object with this identity (as `inode.key`, `inode.generation`). @throws ESTALE */
  inodeByKey(key: number, generation: number): MaybePromise<Inode>

  /**
   * Makes `inodeByKey` find this object forever, also after a restart. Call it when its identity is given to a client. Returns whether `retained` must say when
   * that is safe; otherwise it is already.
   */
  retain(inode: Inode): boolean
  /**
   * Undefined if every retained identity and every move of one would survive the death of the process, otherwise a promise for that: a
   * reply that carries new handles waits for that.
   */
  retained(): Promise<void> | undefined

  getattr(inode: Inode): MaybePromise<Attr>
  /** The subset of `Access` bits in `mask` that the caller has. */
  access(cred: Cred, inode: Inode, mask: number): MaybePromise<number>
  /**
   * Changes attributes in one step. `guard` runs under the lock with the present attributes and may throw to abort.
   * setuid/setgid are dropped as by chown(2) and truncate(2).
   */
  setattr(
    cred: Cred,
    inode: Inode,
    change: AttrChange,
    changeInfo?: ChangeInfo,
    guard?: (now: Attr) => void,
  ): Promise<Attr>
  /** The target of a symlink, as bytes. @throws EINVAL not a symlink */
  readlink(cred: Cred, inode: Inode): MaybePromise<Uint8Array>

  /** Creates a regular file. @throws EEXIST */
  create(cred: Cred, dir: Inode, name: Name, options: CreateOptions, changeInfo?: ChangeInfo): MaybePromise<Inode>
  /** @throws EEXIST */
  mkdir(cred: Cred, dir: Inode, name: Name, options: CreateOptions, changeInfo?: ChangeInfo): Promise<Inode>
  /** Stores `target` unchanged. @throws EEXIST · ENAMETOOLONG */
  symlink(
    cred: Cred,
    dir: Inode,
    name: Name,
    target: Uint8Array,
    options: CreateOptions,
    changeInfo?: ChangeInfo,
  ): Promise<Inode>
  /** Creates a fifo, socket or device. Devices need uid 0 (EPERM). A character device 0:0 is refused (EPERM), because it is a whiteout. */
  mknod(
    cred: Cred,
    dir: Inode,
    name: Name,
    type: FileType,
    rdev: { major: number; minor: number },
    options: CreateOptions,
    changeInfo?: ChangeInfo,
  ): Promise<Inode>
  /** Links `inode` (not a directory: EPERM) to another name. @throws EEXIST · EMLINK */
  link(cred: Cred, inode: Inode, dir: Inode, name: Name, changeInfo?: ChangeInfo): Promise<void>
  /** Removes a name of a non-directory. @throws ENOENT · EISDIR. `check` as in `rename`. */
  unlink(
    cred: Cred,
    dir: Inode,
    name: Name,
    changeInfo?: ChangeInfo,
    check?: (victim: Inode) => void,
  ): MaybePromise<void>
  /** @throws ENOENT · ENOTDIR · ENOTEMPTY */
  rmdir(cred: Cred, dir: Inode, name: Name, changeInfo?: ChangeInfo, check?: (victim: Inode) => void): Promise<void>
  /**
   * Moves `fromDir/fromName` to `toDir/toName` and replaces an existing object as rename(2) does, or fails with EEXIST if `noReplace` is set;
   * with `exchange` the two objects swap names. `check` runs under the locks with both objects and may throw to abort.
   *
   * @throws ENOENT · EEXIST | ENOTEMPTY · EISDIR | ENOTDIR · EINVAL into itself · EXDEV a merged or lower directory with redirect_dir off
   */
  rename(
    cred: Cred,
    fromDir: Inode,
    fromName: Name,
    toDir: Inode,
    toName: Name,
    options?: {
      noReplace?: boolean
      exchange?: boolean
      fromInfo?: ChangeInfo
      toInfo?: ChangeInfo
      check?: (source: Inode, target: Inode | undefined) => void
    },
  ): Promise<void>

  /** The layers that `name` in `dir` comes from. Needs search permission. */
  provenance(cred: Cred, dir: Inode, name: Name): Promise<Provenance>
  /** The removed names in `dir` that a lower has. Needs read permission. */
  removedNames(cred: Cred, dir: Inode): Promise<Name[]>
  /**
   * The names in `dir` that its own layers contain, as objects or as removed names, in no order. Own layers are the upper and the topmost lowers whose
   * position is below `depth`: 1 for the upper alone, 2 for the upper and one lower. Needs read permission.
   */
  ownNames(cred: Cred, dir: Inode, depth: number): Promise<Name[]>
  /**
   * Which object of the layers from position `depth` on this is, or is a copy of: the same text in each overlay with these layers at the bottom. Undefined if
   * it is none, or not known. Returns at once.
   */
  identityBelow(inode: Inode, depth: number): string | undefined
  /**
   * Discards the upper's changed non-directory or whiteout at `name`, so that the lower's object is visible again: in one step, with
   * the rights that `unlink` needs. Returns the visible object. `check` as in `unlink`, with undefined for a whiteout.
   *
   * @throws ENODATA no lower has the name, or nothing was changed · EISDIR the upper has a directory there · EMLINK one of several names of a lower file
   */
  restore(cred: Cred, dir: Inode, name: Name, check?: (current: Inode | undefined) => void): Promise<Inode>
  /**
   * Discards the upper's copy of a lower non-directory, which the caller has compared with it, while no other call is running. Does nothing and returns false if it is not
   * the object that the caller has seen (by type and ctime), has several names or protocol data, or is open.
   *
   * @throws ENODATA no lower has the name · as `restore`
   */
  dropCopy(cred: Cred, dir: Inode, name: Name, seen: Attr): Promise<boolean>

  /**
   * Calls `fill` for each entry after `cookie` (0: from the start), without `.` and `..`, until it returns false or the
   * directory ends; returns whether the end was reached with every entry accepted. An entry that exists throughout is listed exactly once,
   * whatever else changes. Needs read permission.
   */
  readdir(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntry) => boolean): MaybePromise<boolean>
  /** Like `readdir`, with the object and attributes of each entry (undefined without search permission). */
  readdirPlus(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntryPlus) => boolean): MaybePromise<boolean>

  /**
   * Stateless read for protocols without open: the owner may always read, and execute permission suffices (as in nfsd).
   * Returns the bytes read into `buffer` at `offset`; fewer than `length` only at the end of the file.
   */
  read(
    cred: Cred,
    inode: Inode,
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): MaybePromise<number>
  /** Stateless write of all of `data` (the owner may always write); copies up first. */
  write(
    cred: Cred,
    inode: Inode,
    data: Uint8Array,
    position: number,
    stability: Stability,
    changeInfo?: ChangeInfo,
  ): MaybePromise<void>
  /**
   * Reserves space for a range of a regular file, which grows to its end, or makes a hole of it, which does not change the size. With the rights and effects of `write`;
   * `commitChanges` makes it durable. @throws EOPNOTSUPP the file system cannot · ENOSPC | EDQUOT | EFBIG
   */
  allocate(cred: Cred, inode: Inode, how: 'allocate' | 'punch', position: number, length: number): Promise<void>
  /** Makes everything written to `inode` so far durable. */
  commit(cred: Cred, inode: Inode, changeInfo?: ChangeInfo): Promise<void>
  /** Opens a regular file; `write` copies it up, `truncate` empties it. @throws EISDIR · EINVAL not a regular file */
  open(cred: Cred, inode: Inode, how: { read?: boolean; write?: boolean; truncate?: boolean }): MaybePromise<OpenFile>
  /**
   * Starts a staged file owned by `cred`. `foreseen` saves calls at the end; with `keep` it survives the process until it is published or
   * discarded. @see StagedFile
   */
  stage(cred: Cred, foreseen?: Foreseen, keep?: ResumableOptions): Promise<StagedFile>
  /** The resumable staged files of earlier mounts, each to be continued as `credOf` says. Call it once, before any is created. */
  resumableStages(credOf: CredOf): Promise<ResumableStage[]>

  /** The value, or undefined. Overlay-private names do not exist for callers. */
  getxattr(cred: Cred, inode: Inode, name: string): Promise<Uint8Array | undefined>
  setxattr(cred: Cred, inode: Inode, name: string, value: Uint8Array, how?: 'create' | 'replace'): Promise<void>
  /** @throws ENODATA */
  removexattr(cred: Cred, inode: Inode, name: string): Promise<void>
  listxattr(cred: Cred, inode: Inode): Promise<string[]>
  /**
   * Protocol data of an object (for example WebDAV dead properties): it follows the object through copy-up, rename and
   * restart, is removed with it, and no client or kernel overlay mount sees it. `slot` is a short ASCII word. Up to 1 MiB; large data does
   * not follow if the upper becomes a lower of another overlay.
   */
  getProtocolData(cred: Cred, inode: Inode, slot: string): Promise<Uint8Array | undefined>
  /**
   * Sets protocol data, or removes it if `value` is undefined. Needs write permission. With `upper` nothing happens to an object that would have to
   * be copied up for it. @throws ENOSPC too large
   */
  setProtocolData(cred: Cred, inode: Inode, slot: string, value: Uint8Array | undefined, where?: 'upper'): Promise<void>

  statfs(): Promise<StatFs>
  /**
   * Resolves when all earlier changes of `objects` are durable: for a new, moved or removed name the directory, for attributes
   * and data the object; and the records of retained identities of objects with an upper. Concurrent calls share fsyncs. Undefined if there is nothing to wait for (volatile, never
   * changed).
   *
   * @throws EIO | ENOSPC | EDQUOT with `op` fsync or syncfs: unstable data may be lost
   */
  commitChanges(objects: readonly Inode[]): Promise<void> | undefined
  /** Makes all changes so far durable (syncfs of the upper). */
  sync(): Promise<void>
  /** The options of the last mount or remount. */
  readonly options: MountOptions
  /**
   * Changes lowers or options in one step between two calls: running calls finish on the old stack, later ones see the new
   * one. Objects that still exist keep their identity; others fail with ESTALE, but open files on them can be read until they are closed.
   * If it fails, the old stack stays in use. Concurrent remounts are serialized.
   *
   * @param how with `stack`, it shares the new lowers with the other overlays on that stack, which must have the same memory as that of its mount;
   * otherwise it has lowers of its own
   * @throws OptionError as at mount, or upperdir, workdir, userxattr or uuid would change, or volatile would end
   */
  remount(options: MountOptions, how?: { readonly stack?: Stack | undefined }): Promise<void>
  /**
   * Makes the upper a lower, in one step between two calls: it moves to `directory/upper`, its index of hard links to `directory/index`, and an empty upper takes its
   * place. Nothing is copied, and the time does not depend on what the upper contains. Objects keep their identity, and what is open stays open. `directory` must be an
   * empty directory on the file system of the upper that nobody else uses. When it resolves, everything in the frozen layer is durable, unless the overlay is
   * volatile. After a crash, `settleFreeze` finishes or undoes a freeze before the next mount.
   *
   * @param prepared whether the upper that takes the place is in `directory` already, as `rebuild` has made it; then nothing may have been changed in the present upper,
   *   which must be empty (EBUSY otherwise; nothing has changed). Or it was made by a mount over the layers that are below it then, with `index=off`, and differs from them at
   *   some paths: then its directories above these get the attributes of the present ones
   * @param options those from now on. Either `lowerdir` is the present one with `directory/upper` above it, and `frozen` is one more: then clients notice nothing. Or
   *   without `directory/upper`: then all that the upper contained is let go in the same step, as by `remount`.
   * @throws OptionError as `remount`, or the upper cannot be frozen: it is read-only, its marks are in files, or metacopy is on · EBUSY as `FreshUpper.paths` says · EIO | ENOSPC | EDQUOT nothing has changed, or the
   *   frozen layer may not be durable (`op` syncfs)
   */
  freeze(directory: string, options: MountOptions, prepared?: boolean | FreshUpper): Promise<void>
  /**
   * Begins to merge adjacent frozen layers, while the overlay is used. The overlay shows the old layers until `Squash.adopt`. Nobody else may use them meanwhile, because their files have a
   * higher link count on disk.
   *
   * @param layers their paths in `lowerdir`, topmost first
   * @param directory a directory beside that of the topmost one, without `upper` and `index`
   * @throws OptionError these are no adjacent frozen layers
   */
  squash(layers: readonly string[], directory: string): Squash
  /**
   * Waits for running calls, releases upper and workdir and closes every descriptor. Later calls fail with ESTALE. All changes are made durable first, unless
   * `sync` is false: then a power loss may undo changes that were not committed (`commitChanges`), and errors of the disk in writing them are not reported.
   *
   * @throws EIO the last changes may not be durable
   */
  unmount(how?: { readonly sync?: boolean }): Promise<void>
}

/** A merge of frozen layers that can take their place. */
export interface Squash {
  /**
   * Makes `upper` in its directory what the layers show together, and `index` their index of hard links. Files get further names there and are not copied, so the time depends on
   * the number of names and not on their bytes. When it resolves, the merge is durable.
   *
   * @throws OptionError they contain hard links, and index=off · ESTALE a layer left the stack, or the overlay was unmounted · ENOSPC | EDQUOT | EMLINK | EIO
   */
  make(): Promise<void>
  /**
   * Exchanges the directory of the merge with `place`, that of the topmost of the layers, and gives the overlay `options`, in one step between two calls. The exchange decides
   * what a crash leaves. Objects keep their identity, and what is open stays open.
   *
   * @param options those from now on, with `place/upper` as the only one of the layers
   * @throws as `remount`: nothing has changed
   */
  adopt(place: string, options: MountOptions, how?: { readonly stack?: Stack | undefined }): Promise<void>
  /** To be called last, when the layers, or the merge that was not adopted, are deleted: until then link counts do not show them. */
  end(): void
}

/**
 * The lowers that several overlays share: opened and examined once, and with what the overlays have learned of them. It is forgotten when the last overlay ends.
 */
export interface Stack {
  /** The number of overlays that use it. */
  readonly users: number
  /** Admits no more overlays, and resolves when the last one has ended and the lowers are closed. */
  close(): Promise<void>
}

/**
 * What outlives the stacks of a set of overlays, such as the views of a template, which are on one stack at a time: where the handles of lower objects lead, for
 * all of them together, and how file systems are numbered.
 */
export interface StackMemory {
  /** The number of lower objects whose handles it remembers, and their bytes on disk. */
  readonly usage: { readonly handles: number; readonly bytes: number }
  /** Makes everything durable and closes it, after the last stack. @throws the error of the disk */
  close(): Promise<void>
}
