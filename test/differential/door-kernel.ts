import { type AttrChange, type Cred, FileType, isErrno, OverlayError } from '../../overlay-core/index.ts'
import { bind, lastErrno } from '../../overlay-core/sys/call.ts'
import { sysError } from '../../overlay-core/sys/error.ts'
import { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY } from '../../overlay-core/sys/flags.ts'
import { nameToHandle } from '../../overlay-core/sys/handle.ts'
import { type Stat, statxAt, statxFd } from '../../overlay-core/sys/stat.ts'
import { type DoorSide, type DoorStatus, READ_BYTES } from './door-side.ts'
import { NotCompared } from './kernel-view.ts'
import * as native from './native.ts'

const AT_FDCWD = -100
const AT_EMPTY_PATH = 0x1000
const AT_SYMLINK_FOLLOW = 0x400
const UNCHANGED = 0xffff_ffff
const [READ, WRITE, EXECUTE] = [4, 2, 1]
const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const NO_PATH = Buffer.from('\0')

const fchownat = bind<[number, Uint8Array, number, number, number]>(
  'int fchownat(int, const void *, uint32_t, uint32_t, int)',
)
const linkat = bind<[number, Uint8Array, number, Uint8Array, number]>(
  'int linkat(int, const void *, int, const void *, int)',
)
const readlinkat = bind<[number, Uint8Array, Uint8Array, number]>(
  'int64_t readlinkat(int, const void *, void *, size_t)',
)

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [FileType.regular]: 'file',
  [FileType.directory]: 'directory',
  [FileType.symlink]: 'symlink',
  [FileType.fifo]: 'fifo',
  [FileType.socket]: 'socket',
  [FileType.block]: 'block',
  [FileType.character]: 'character',
}

/** What the kernel side has for a handle: an O_PATH descriptor, which stays with its object whatever becomes of its names. */
export interface KernelHandle {
  readonly fd: number
  readonly type: FileType
  readonly id: string
}

/** A mounted kernel overlay, as knfsd would export it: calls by objects, permission as nfsd's where that differs from open(2)'s. */
export class KernelDoor implements DoorSide<KernelHandle> {
  readonly root: KernelHandle

  constructor(path: string) {
    this.root = held(native.open(path, O_PATH | O_DIRECTORY))
  }

  async find(cred: Cred, dir: KernelHandle, name: string): Promise<KernelHandle> {
    needDirectory(dir)
    return native.asCaller(cred, () => this.#open(dir, name))
  }

  async make(
    cred: Cred,
    kind: 'create' | 'mkdir' | 'mkfifo',
    dir: KernelHandle,
    name: string,
    mode: number,
  ): Promise<KernelHandle> {
    needDirectory(dir)
    return native.asCaller(cred, () => {
      const at = below(dir, name)
      if (kind === 'create') native.close(native.open(at, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode))
      else if (kind === 'mkdir') native.mkdir(at, mode)
      else native.mknod(at, FileType.fifo | mode, 0, 0)
      return this.#open(dir, name)
    })
  }

  async symlink(cred: Cred, dir: KernelHandle, name: string, target: string): Promise<KernelHandle> {
    needDirectory(dir)
    return native.asCaller(cred, () => {
      native.symlink(Buffer.from(target, 'latin1'), below(dir, name))
      return this.#open(dir, name)
    })
  }

  async getattr({ fd }: KernelHandle): Promise<DoorStatus> {
    const { type, mode, nlink, uid, gid, size } = statxFd(fd)
    return { type: TYPE_NAMES[type] ?? '', mode, nlink, uid, gid, size }
  }

  async setattr(cred: Cred, handle: KernelHandle, change: AttrChange): Promise<void> {
    const { fd, type } = handle
    const { size, uid, gid, mode, atime, mtime } = change
    // nfsd lets whoever may write set one of the two times to now, utimensat(2) only both.
    const touches = atime === 'now' || mtime === 'now'
    if (touches && cred.uid !== statxFd(fd).uid && may(cred, handle, WRITE)) throw new NotCompared()
    if (size !== undefined) {
      if (type === FileType.directory) throw new OverlayError('EISDIR', 'truncate')
      if (type !== FileType.regular) throw new OverlayError('EINVAL', 'truncate')
      const stat = statxFd(fd)
      // The owner may in nfsd, as the client that has the file open was allowed to.
      if (cred.uid !== 0 && cred.uid === stat.uid && (stat.mode & 0o200) === 0) throw new NotCompared()
    }
    if (mode !== undefined && type === FileType.symlink) throw new NotCompared()
    native.asCaller(cred, () => {
      if (size !== undefined) native.truncate(self(fd), size)
      if (uid !== undefined || gid !== undefined)
        checked('chown', fchownat(fd, NO_PATH, uid ?? UNCHANGED, gid ?? UNCHANGED, AT_EMPTY_PATH))
      if (mode !== undefined) native.chmod(self(fd), mode)
      if (atime !== undefined || mtime !== undefined) native.utimesFd(fd, atime, mtime)
    })
  }

  async readlink(_cred: Cred, { fd, type }: KernelHandle): Promise<string> {
    if (type !== FileType.symlink) throw new OverlayError('EINVAL', 'readlink')
    const out = Buffer.alloc(4096)
    return out.toString('latin1', 0, checked('readlink', readlinkat(fd, NO_PATH, out, out.length)))
  }

  async list(cred: Cred, handle: KernelHandle): Promise<readonly string[]> {
    return this.#list(cred, handle)
  }

  #list(cred: Cred, handle: KernelHandle): readonly string[] {
    needDirectory(handle)
    const fd = native.asCaller(cred, () => native.open(self(handle.fd), O_RDONLY | O_DIRECTORY))
    try {
      const names: string[] = []
      for (let page = native.getdents(fd); page.length > 0; page = native.getdents(fd))
        names.push(...page.filter(({ name }) => native.exists(below(handle, name))).map(({ name }) => name))
      return names
    } finally {
      native.close(fd)
    }
  }

  async read(cred: Cred, handle: KernelHandle, at: number): Promise<Buffer> {
    needRegular(handle)
    const { uid } = statxFd(handle.fd)
    // Whoever may execute a file may read it, and its owner may in any case (nfsd_permission).
    if (cred.uid !== uid && !may(cred, handle, READ) && !may(cred, handle, EXECUTE))
      throw new OverlayError('EACCES', 'read')
    const fd = native.open(self(handle.fd), O_RDONLY)
    try {
      return native.pread(fd, READ_BYTES, at)
    } finally {
      native.close(fd)
    }
  }

  async write(cred: Cred, handle: KernelHandle, at: number, data: Buffer): Promise<void> {
    needRegular(handle)
    const { uid } = statxFd(handle.fd)
    if (cred.uid !== uid && !may(cred, handle, WRITE)) throw new OverlayError('EACCES', 'write')
    const fd = native.open(self(handle.fd), O_WRONLY)
    try {
      // write(2) looks at the caller when it drops setuid.
      native.asCaller(cred, () => native.pwrite(fd, data, at))
    } finally {
      native.close(fd)
    }
  }

  async link(cred: Cred, handle: KernelHandle, dir: KernelHandle, name: string): Promise<void> {
    needDirectory(dir)
    this.#needLinkable(cred, handle)
    const to = Buffer.from(`${below(dir, name)}\0`, 'latin1')
    native.asCaller(cred, () => {
      checked('link', linkat(AT_FDCWD, Buffer.from(`${self(handle.fd)}\0`), AT_FDCWD, to, AT_SYMLINK_FOLLOW))
    })
  }

  async remove(cred: Cred, kind: 'remove' | 'rmdir', dir: KernelHandle, name: string): Promise<void> {
    needDirectory(dir)
    native.asCaller(cred, () => (kind === 'remove' ? native.unlink : native.rmdir)(below(dir, name)))
  }

  async rename(cred: Cred, dir: KernelHandle, name: string, toDir: KernelHandle, toName: string): Promise<void> {
    needDirectory(dir)
    needDirectory(toDir)
    native.asCaller(cred, () => native.rename(below(dir, name), below(toDir, toName), 0))
  }

  /** The ids of all objects that have a name. */
  present(): ReadonlySet<string> {
    const ids = new Set<string>([this.root.id])
    const visit = (dir: KernelHandle): void => {
      const fd = native.open(self(dir.fd), O_RDONLY | O_DIRECTORY)
      try {
        for (let page = native.getdents(fd); page.length > 0; page = native.getdents(fd)) {
          for (const { name } of page) {
            if (!native.exists(below(dir, name))) continue
            const child = this.#open(dir, name)
            ids.add(child.id)
            if (child.type === FileType.directory) visit(child)
            native.close(child.fd)
          }
        }
      } finally {
        native.close(fd)
      }
    }
    visit(this.root)
    return ids
  }

  /** The names in a directory, whoever asks. */
  names(dir: KernelHandle): readonly string[] {
    return this.#list(ROOT, dir)
  }

  /** Whether the name that the handle was opened by is still its object's, as the kernel tells without a look at the tree. Of other names it tells nothing. */
  hasItsName({ fd }: KernelHandle): boolean {
    return !native.readlink(self(fd)).toString('latin1').endsWith(' (deleted)')
  }

  #open(dir: KernelHandle, name: string): KernelHandle {
    return held(native.open(below(dir, name), O_PATH | O_NOFOLLOW))
  }

  /** The sysctl fs.protected_hardlinks is a rule for local callers. */
  #needLinkable(cred: Cred, handle: KernelHandle): void {
    const { uid, mode } = statxFd(handle.fd)
    if (cred.uid === 0 || cred.uid === uid || handle.type === FileType.directory) return
    const special = (mode & 0o4000) !== 0 || (mode & 0o2010) === 0o2010
    if (handle.type !== FileType.regular || special || !may(cred, handle, READ) || !may(cred, handle, WRITE))
      throw new NotCompared()
  }
}

/** Bytes before struct ovl_fb in a handle of the kernel's overlay (struct ovl_fh). */
const HANDLE_PADDING = 3

/**
 * What a kernel overlay with nfs_export=on has in its index for the object behind `fd`: a copied-up file, a whiteout when no handle of it leads anywhere any more,
 * or nothing. It goes by the name of the object's handle (fs/overlayfs/namei.c ovl_get_index_name_fh).
 */
export async function indexEntryOf(index: string, fd: number): Promise<Stat | undefined> {
  const handle = await nameToHandle(fd, '')
  if (!handle) throw new Error('the kernel overlay gives no file handles')
  const from = HANDLE_PADDING
  const bytes = Buffer.from(handle.bytes).subarray(from, from + (handle.bytes[from + 2] as number))
  const dir = native.open(index, O_PATH | O_DIRECTORY)
  try {
    return await statxAt(dir, bytes.toString('hex'))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  } finally {
    native.close(dir)
  }
}

function held(fd: number): KernelHandle {
  const stat: Stat = statxFd(fd)
  return { fd, type: stat.type, id: `${stat.inoHi}:${stat.inoLo}` }
}

function may(cred: Cred, { fd }: KernelHandle, mask: number): boolean {
  try {
    native.asCaller(cred, () => native.accessFollowing(self(fd), mask))
    return true
  } catch (error) {
    if (isErrno(error, 'EACCES')) return false
    throw error
  }
}

function needDirectory({ type }: KernelHandle): void {
  if (type !== FileType.directory) throw new OverlayError('ENOTDIR', 'lookup')
}

/** As READ and WRITE of NFSv3, which say NFS3ERR_INVAL of whatever else. */
function needRegular({ type }: KernelHandle): void {
  if (type !== FileType.regular) throw new OverlayError('EINVAL', 'open')
}

function self(fd: number): string {
  return `/proc/self/fd/${fd}`
}

function below({ fd }: KernelHandle, name: string): string {
  return `/proc/self/fd/${fd}/${name}`
}

function checked(op: string, result: number): number {
  if (result < 0) throw sysError(op, lastErrno())
  return result
}
