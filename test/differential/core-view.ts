import {
  type Attr,
  type AttrChange,
  type Cred,
  FileType,
  type Inode,
  type OpenFile,
  type Overlay,
  OverlayError,
} from '../../overlay-core/index.ts'
import {
  type Handle,
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

/** An overlay of overlay-core, used as a protocol adapter would: look up, then one call. */
export class CoreView implements View {
  readonly #overlay: Overlay

  constructor(overlay: Overlay) {
    this.#overlay = overlay
  }

  async create(cred: Cred, path: Path, mode: number): Promise<void> {
    const dir = await this.#parent(cred, path)
    await this.#overlay.create(cred, dir, nameOf(path), { mode })
  }

  async openOrCreate(cred: Cred, path: Path, mode: number, truncate: boolean): Promise<void> {
    const dir = await this.#parent(cred, path)
    const inode = await this.#overlay.lookup(cred, dir, nameOf(path))
    if (inode) (await this.#overlay.open(cred, inode, { write: true, truncate })).close()
    else await this.#overlay.create(cred, dir, nameOf(path), { mode })
  }

  async mkdir(cred: Cred, path: Path, mode: number): Promise<void> {
    const dir = await this.#parent(cred, path)
    await this.#overlay.mkdir(cred, dir, nameOf(path), { mode })
  }

  async symlink(cred: Cred, path: Path, target: string): Promise<void> {
    const dir = await this.#parent(cred, path)
    await this.#overlay.symlink(cred, dir, nameOf(path), Buffer.from(target, 'latin1'), { mode: 0o777 })
  }

  async mknod(cred: Cred, path: Path, type: FileType, mode: number, major: number, minor: number): Promise<void> {
    const dir = await this.#parent(cred, path)
    await this.#overlay.mknod(cred, dir, nameOf(path), type, { major, minor }, { mode })
  }

  async link(cred: Cred, from: Path, to: Path): Promise<void> {
    const source = await this.#object(cred, from)
    await this.#overlay.link(cred, source, await this.#parent(cred, to), nameOf(to))
  }

  async unlink(cred: Cred, path: Path): Promise<void> {
    await this.#overlay.unlink(cred, await this.#parent(cred, path), nameOf(path))
  }

  async rmdir(cred: Cred, path: Path): Promise<void> {
    await this.#overlay.rmdir(cred, await this.#parent(cred, path), nameOf(path))
  }

  async rename(cred: Cred, from: Path, to: Path, how: 'replace' | 'noReplace' | 'exchange'): Promise<void> {
    const fromDir = await this.#parent(cred, from)
    const toDir = await this.#parent(cred, to)
    const options = { noReplace: how === 'noReplace', exchange: how === 'exchange' }
    await this.#overlay.rename(cred, fromDir, nameOf(from), toDir, nameOf(to), options)
  }

  async setattr(cred: Cred, path: Path, change: AttrChange): Promise<void> {
    await this.#overlay.setattr(cred, await this.#object(cred, path), change)
  }

  async stat(cred: Cred, path: Path): Promise<Status> {
    const inode = await this.#object(cred, path)
    return statusOf(await this.#overlay.getattr(inode))
  }

  async access(cred: Cred, path: Path, mask: number): Promise<number> {
    return await this.#overlay.access(cred, await this.#object(cred, path), mask)
  }

  async readlink(cred: Cred, path: Path): Promise<string> {
    const inode = await this.#object(cred, path)
    return Buffer.from(await this.#overlay.readlink(cred, inode)).toString('latin1')
  }

  async readdir(cred: Cred, path: Path): Promise<NamedType[]> {
    const entries: NamedType[] = []
    await this.#overlay.readdir(
      cred,
      await this.#object(cred, path),
      0,
      ({ name, type }) => entries.push({ name, type }) > 0,
    )
    return entries
  }

  async stream(cred: Cred, path: Path): Promise<Stream> {
    const inode = await this.#object(cred, path)
    // Permission is asked here only: the kernel's directory is open from now on, whatever its mode becomes.
    await this.#overlay.readdir(cred, inode, 0, () => false)
    let cookie = 0
    return {
      next: async () => {
        const names: string[] = []
        await this.#overlay.readdir(ROOT, inode, cookie, (entry) => {
          if (names.length === 2) return false
          cookie = entry.cookie
          return names.push(entry.name) > 0
        })
        return names
      },
      close: () => undefined,
    }
  }

  async open(cred: Cred, path: Path, mode: OpenMode): Promise<Handle> {
    const inode = await this.#object(cred, path)
    return new CoreHandle(await this.#overlay.open(cred, inode, mode))
  }

  async getxattr(cred: Cred, path: Path, name: string): Promise<Buffer> {
    const value = await this.#overlay.getxattr(cred, await this.#object(cred, path), name)
    if (!value) throw new OverlayError('ENODATA', 'getxattr')
    return Buffer.from(value)
  }

  async setxattr(cred: Cred, path: Path, name: string, value: Uint8Array, how?: 'create' | 'replace'): Promise<void> {
    await this.#overlay.setxattr(cred, await this.#object(cred, path), name, value, how)
  }

  async removexattr(cred: Cred, path: Path, name: string): Promise<void> {
    await this.#overlay.removexattr(cred, await this.#object(cred, path), name)
  }

  async listxattr(cred: Cred, path: Path): Promise<string[]> {
    return await this.#overlay.listxattr(cred, await this.#object(cred, path))
  }

  async #parent(cred: Cred, path: Path): Promise<Inode> {
    const parent = await this.#object(cred, parentOf(path))
    // Found before anything of a second path is looked at, as in the kernel.
    if (parent.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'lookup')
    return parent
  }

  async #object(cred: Cred, path: Path): Promise<Inode> {
    let inode = this.#overlay.root
    if (path === '') return inode
    for (const name of path.split('/')) {
      const next = await this.#overlay.lookup(cred, inode, name)
      if (!next) throw new OverlayError('ENOENT', 'lookup', name)
      inode = next
    }
    return inode
  }
}

class CoreHandle implements Handle {
  readonly #file: OpenFile

  constructor(file: OpenFile) {
    this.#file = file
  }

  async read(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length)
    return buffer.subarray(0, await this.#file.read(buffer, 0, length, position))
  }

  async write(data: Uint8Array, position: number): Promise<void> {
    await this.#file.write(data, position)
  }

  async truncate(size: number): Promise<void> {
    await this.#file.truncate(size)
  }

  /** The core has no fallocate: a size that grows shows the same zeros. */
  async allocate(offset: number, length: number): Promise<void> {
    const { size } = await this.#file.getattr()
    await this.truncate(Math.max(size, offset + length))
  }

  async stat(): Promise<Status> {
    return statusOf(await this.#file.getattr())
  }

  close(): void {
    this.#file.close()
  }
}

function statusOf(attr: Attr): Status {
  const { type, mode, nlink, uid, gid, size, atime, mtime } = attr
  return {
    type,
    mode,
    nlink,
    uid,
    gid,
    size,
    rdev: `${attr.rdevMajor}:${attr.rdevMinor}`,
    atime,
    mtime,
    fileId: `${attr.fileIdHi}:${attr.fileIdLo}`,
  }
}
