import { type AttrChange, type Cred, FileType, isErrno, OverlayError } from '../../overlay-core/index.ts'
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../../overlay-core/sys/flags.ts'
import { type Stat, statxFd } from '../../overlay-core/sys/stat.ts'
import * as native from './native.ts'
import {
  type Handle,
  joined,
  type NamedType,
  nameOf,
  type OpenMode,
  type Path,
  parentOf,
  type Status,
  type Stream,
  type View,
} from './view.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const RENAME_FLAGS = { replace: 0, noReplace: RENAME_NOREPLACE, exchange: RENAME_EXCHANGE } as const

/** Says that an operation is not to be compared, as the kernel answers by a rule that is not the overlay's. */
export class NotCompared extends Error {}

/** The tree below a directory (a mounted kernel overlay), by system calls with the caller's credentials. */
export class KernelView implements View {
  readonly #root: number
  readonly #userxattr: boolean

  /** @param path of the directory, as latin1; `userxattr` when it is an overlay with that option */
  constructor(path: string, userxattr = false) {
    this.#root = native.open(path, O_PATH | O_DIRECTORY)
    this.#userxattr = userxattr
  }

  close(): void {
    native.close(this.#root)
  }

  create(cred: Cred, path: Path, mode: number): void {
    this.#at(cred, path, (at) => native.close(native.open(at, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)))
  }

  openOrCreate(cred: Cred, path: Path, mode: number, truncate: boolean): void {
    const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | (truncate ? O_TRUNC : 0)
    try {
      // As `open` says of what is no file.
      needRegular(this.#status(cred, path).type)
      this.#needUnprotected(cred, path)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
    this.#at(cred, path, (at) => native.close(native.open(at, flags, mode)))
  }

  mkdir(cred: Cred, path: Path, mode: number): void {
    this.#at(cred, path, (at) => native.mkdir(at, mode))
  }

  symlink(cred: Cred, path: Path, target: string): void {
    this.#at(cred, path, (at) => native.symlink(Buffer.from(target, 'latin1'), at))
  }

  mknod(cred: Cred, path: Path, type: FileType, mode: number, major: number, minor: number): void {
    this.#at(cred, path, (at) => native.mknod(at, type | mode, major, minor))
  }

  link(cred: Cred, from: Path, to: Path): void {
    // Special files take no `user.*` attributes, so no origin: the kernel makes two objects of one that it copies up for this.
    if (this.#userxattr && this.#status(cred, from).type !== FileType.regular) throw new NotCompared()
    this.#needLinkable(cred, from)
    this.#at(cred, from, (source) => this.#at(cred, to, (at) => native.link(source, at)))
  }

  unlink(cred: Cred, path: Path): void {
    this.#at(cred, path, (at) => native.unlink(at))
  }

  rmdir(cred: Cred, path: Path): void {
    this.#at(cred, path, (at) => native.rmdir(at))
  }

  rename(cred: Cred, from: Path, to: Path, how: keyof typeof RENAME_FLAGS): void {
    this.#at(cred, from, (source) => this.#at(cred, to, (at) => native.rename(source, at, RENAME_FLAGS[how])))
  }

  setattr(cred: Cred, path: Path, change: AttrChange): void {
    this.#at(cred, path, (at) => {
      const status = this.#status(cred, path)
      const { type } = status
      if (change.size !== undefined) {
        this.#needWritable(cred, status)
        truncate(at, type, change.size)
      }
      if (change.uid !== undefined || change.gid !== undefined) native.chown(at, change.uid, change.gid)
      if (change.mode !== undefined) {
        // The kernel knows no mode of a symlink; clients of the core never set one.
        if (type === FileType.symlink) throw new NotCompared()
        native.chmod(at, change.mode)
      }
      if (change.atime !== undefined || change.mtime !== undefined) native.utimes(at, change.atime, change.mtime)
    })
  }

  stat(cred: Cred, path: Path): Status {
    return this.#status(cred, path)
  }

  access(cred: Cred, path: Path, mask: number): number {
    // Not to be found is another answer than no rights to what was found.
    this.#status(cred, path)
    return this.#at(cred, path, (at) => {
      let granted = 0
      for (const bit of [4, 2, 1]) {
        if ((mask & bit) === 0) continue
        try {
          native.access(at, bit)
          granted |= bit
        } catch (error) {
          if (!isErrno(error, 'EACCES')) throw error
        }
      }
      return granted
    })
  }

  readlink(cred: Cred, path: Path): string {
    return this.#at(cred, path, (at) => native.readlink(at).toString('latin1'))
  }

  readdir(cred: Cred, path: Path): NamedType[] {
    const fd = this.#openDirectory(cred, path)
    try {
      const result: NamedType[] = []
      for (;;) {
        const entries = native.getdents(fd)
        if (entries.length === 0) return result
        for (const { name, type } of entries) {
          if (type !== FileType.character || !this.#strayWhiteout(joined(path, name)))
            result.push({ name, type: type as FileType })
        }
      }
    } finally {
      native.close(fd)
    }
  }

  stream(cred: Cred, path: Path): Stream {
    const fd = this.#openDirectory(cred, path)
    return {
      // Room for one or a few names.
      next: () => native.getdents(fd, 300).map(({ name }) => name),
      close: () => native.close(fd),
    }
  }

  open(cred: Cred, path: Path, mode: OpenMode): Handle {
    const { type } = this.#status(cred, path)
    needRegular(type)
    const writes = mode.write === true || mode.truncate === true
    const how = writes ? (mode.read ? O_RDWR : O_WRONLY) : O_RDONLY
    const flags = how | O_NOFOLLOW | O_NONBLOCK | (mode.truncate ? O_TRUNC : 0)
    const fd = this.#at(cred, path, (at) => native.open(at, flags))
    return new KernelHandle(cred, fd, mode.write === true)
  }

  getxattr(cred: Cred, path: Path, name: string): Buffer {
    return this.#at(cred, path, (at) => native.getxattr(at, name))
  }

  setxattr(cred: Cred, path: Path, name: string, value: Uint8Array, how?: 'create' | 'replace'): void {
    needNameSpace(name)
    const flags = how === 'create' ? XATTR_CREATE : how === 'replace' ? XATTR_REPLACE : 0
    this.#at(cred, path, (at) => native.setxattr(at, name, value, flags))
  }

  removexattr(cred: Cred, path: Path, name: string): void {
    needNameSpace(name)
    this.#at(cred, path, (at) => native.removexattr(at, name))
  }

  listxattr(cred: Cred, path: Path): string[] {
    return this.#at(cred, path, (at) => native.listxattr(at))
  }

  #openDirectory(cred: Cred, path: Path): number {
    return native.asCaller(cred, () => {
      const place = this.#openBeneath(path === '' ? '.' : path, O_DIRECTORY | O_NOFOLLOW)
      try {
        return native.open(`/proc/self/fd/${place}`, O_RDONLY | O_DIRECTORY)
      } finally {
        native.close(place)
      }
    })
  }

  /** In a directory that is not merged the kernel lists whiteouts, but finds nothing at their names. */
  #strayWhiteout(path: Path): boolean {
    try {
      this.#status(ROOT, path)
      return false
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return true
      throw error
    }
  }

  /** Runs `work` as the caller on a path of the object called `path`, which goes through a descriptor of its directory. */
  #at<T>(cred: Cred, path: Path, work: (at: string) => T): T {
    return native.asCaller(cred, () => {
      if (path === '') return work(`/proc/self/fd/${this.#root}/.`)
      const parent = parentOf(path)
      if (parent === '') return work(`/proc/self/fd/${this.#root}/${path}`)
      const dir = this.#openBeneath(parent, O_DIRECTORY)
      try {
        return work(`/proc/self/fd/${dir}/${nameOf(path)}`)
      } finally {
        native.close(dir)
      }
    })
  }

  /** Clients follow symlinks themselves, so for the core one is only something that is no directory. */
  #openBeneath(path: Path, flags: number): number {
    try {
      return native.openBeneath(this.#root, path, flags)
    } catch (error) {
      if (isErrno(error, 'ELOOP')) throw new OverlayError('ENOTDIR', 'lookup')
      throw error
    }
  }

  #status(cred: Cred, path: Path): Status {
    return this.#at(cred, path, (at) => {
      const fd = native.open(at, O_PATH | O_NOFOLLOW)
      try {
        return statusOf(statxFd(fd))
      } finally {
        native.close(fd)
      }
    })
  }

  /** The owner may always set the size in the core, as in nfsd: a client that holds the file open was allowed to when it opened it. */
  #needWritable(cred: Cred, { type, uid, mode }: Status): void {
    const refused = type === FileType.regular && cred.uid !== 0 && cred.uid === uid && (mode & 0o200) === 0
    if (refused) throw new NotCompared()
  }

  /** The sysctl fs.protected_regular: O_CREAT opens nobody else's file in a sticky directory that others can write to. A rule for local callers. */
  #needUnprotected(cred: Cred, path: Path): void {
    const dir = this.#status(ROOT, parentOf(path))
    if (cred.uid !== this.#status(ROOT, path).uid && (dir.mode & 0o1000) !== 0) throw new NotCompared()
  }

  /**
   * The sysctl fs.protected_hardlinks forbids users to link files they do not own and could not read and write: a rule for
   * local callers, which no file server follows.
   */
  #needLinkable(cred: Cred, path: Path): void {
    if (cred.uid === 0) return
    const status = this.#status(cred, path)
    if (status.uid === cred.uid) return
    const special = (status.mode & 0o4000) !== 0 || (status.mode & 0o2010) === 0o2010
    if (status.type !== FileType.regular || special || this.access(cred, path, 6) !== 6) throw new NotCompared()
  }
}

/** The kernel copies a file up before the upper file system says that it knows no such attributes; the core does not. */
function needNameSpace(name: string): void {
  if (!/^(user|trusted|security|system)\./.test(name)) throw new NotCompared()
}

/** What the core says of an open of anything else. */
function needRegular(type: FileType): void {
  if (type === FileType.directory) throw new OverlayError('EISDIR', 'open')
  if (type !== FileType.regular) throw new OverlayError('EINVAL', 'open')
}

/** truncate(2) follows symlinks and opens nothing, so only regular files get there. */
function truncate(at: string, type: FileType, size: number): void {
  if (type === FileType.directory) throw new OverlayError('EISDIR', 'truncate')
  if (type !== FileType.regular) throw new OverlayError('EINVAL', 'truncate')
  native.truncate(at, size)
}

class KernelHandle implements Handle {
  readonly #cred: Cred
  readonly #fd: number
  readonly #writable: boolean

  constructor(cred: Cred, fd: number, writable: boolean) {
    this.#cred = cred
    this.#fd = fd
    this.#writable = writable
  }

  read(position: number, length: number): Buffer {
    return native.pread(this.#fd, length, position)
  }

  write(data: Uint8Array, position: number): void {
    // write(2) looks at the caller when it drops setuid.
    native.asCaller(this.#cred, () => native.pwrite(this.#fd, data, position))
  }

  truncate(size: number): void {
    // The core changes sizes by the object, not by an open file: it knows no descriptor that is open for reading only.
    if (!this.#writable) throw new NotCompared()
    native.asCaller(this.#cred, () => native.ftruncate(this.#fd, size))
  }

  allocate(offset: number, length: number): void {
    if (!this.#writable) throw new NotCompared()
    native.asCaller(this.#cred, () => native.fallocate(this.#fd, 0, offset, length))
  }

  stat(): Status {
    return statusOf(statxFd(this.#fd))
  }

  close(): void {
    native.close(this.#fd)
  }
}

function statusOf(stat: Stat): Status {
  const { type, mode, nlink, uid, gid, size, atime, mtime } = stat
  const fileId = `${stat.inoHi}:${stat.inoLo}`
  return {
    type,
    mode,
    nlink,
    uid,
    gid,
    size,
    rdev: `${stat.rdevMajor}:${stat.rdevMinor}`,
    atime,
    mtime,
    fileId,
  }
}
