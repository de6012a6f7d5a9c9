import type { AttrChange, Cred, FileType, MaybePromise, Time } from '../../overlay-core/index.ts'

/** Bytes as latin1, names joined by `/`, without a leading one; '' is the root. */
export type Path = string

/** What both sides tell of an object, in one form. */
export interface Status {
  readonly type: FileType
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly rdev: string
  readonly atime: Time
  readonly mtime: Time
  /** As text: the inode number that clients see. */
  readonly fileId: string
}

export interface OpenMode {
  readonly read?: boolean
  readonly write?: boolean
  readonly truncate?: boolean
}

/** An open regular file. */
export interface Handle {
  read(position: number, length: number): MaybePromise<Buffer>
  write(data: Uint8Array, position: number): MaybePromise<void>
  truncate(size: number): MaybePromise<void>
  /** Makes sure that the file reaches to `offset` + `length`, as fallocate(2) without flags. */
  allocate(offset: number, length: number): MaybePromise<void>
  stat(): MaybePromise<Status>
  close(): void
}

/** A directory being listed step by step. */
export interface Stream {
  /** Some more names; none at the end. */
  next(): MaybePromise<readonly string[]>
  close(): void
}

export interface NamedType {
  readonly name: string
  readonly type: FileType
}

/**
 * One side of the comparison: an overlay that operations are done on. Fails with OverlayError, as the core does. Symlinks are never
 * followed: one in the middle of a path is ENOTDIR.
 */
export interface View {
  /** Exclusively: EEXIST when there is something. */
  create(cred: Cred, path: Path, mode: number): MaybePromise<void>
  /** open(2) with O_CREAT, for writing: what is there is opened, else a file is made. */
  openOrCreate(cred: Cred, path: Path, mode: number, truncate: boolean): MaybePromise<void>
  mkdir(cred: Cred, path: Path, mode: number): MaybePromise<void>
  symlink(cred: Cred, path: Path, target: string): MaybePromise<void>
  mknod(cred: Cred, path: Path, type: FileType, mode: number, major: number, minor: number): MaybePromise<void>
  link(cred: Cred, from: Path, to: Path): MaybePromise<void>
  unlink(cred: Cred, path: Path): MaybePromise<void>
  rmdir(cred: Cred, path: Path): MaybePromise<void>
  rename(cred: Cred, from: Path, to: Path, how: 'replace' | 'noReplace' | 'exchange'): MaybePromise<void>
  setattr(cred: Cred, path: Path, change: AttrChange): MaybePromise<void>
  stat(cred: Cred, path: Path): MaybePromise<Status>
  access(cred: Cred, path: Path, mask: number): MaybePromise<number>
  readlink(cred: Cred, path: Path): MaybePromise<string>
  /** In no particular order. */
  readdir(cred: Cred, path: Path): MaybePromise<readonly NamedType[]>
  stream(cred: Cred, path: Path): MaybePromise<Stream>
  open(cred: Cred, path: Path, mode: OpenMode): MaybePromise<Handle>
  getxattr(cred: Cred, path: Path, name: string): MaybePromise<Buffer>
  setxattr(cred: Cred, path: Path, name: string, value: Uint8Array, how?: 'create' | 'replace'): MaybePromise<void>
  removexattr(cred: Cred, path: Path, name: string): MaybePromise<void>
  listxattr(cred: Cred, path: Path): MaybePromise<readonly string[]>
}

export function parentOf(path: Path): Path {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}

export function nameOf(path: Path): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function joined(dir: Path, name: string): Path {
  return dir === '' ? name : `${dir}/${name}`
}
