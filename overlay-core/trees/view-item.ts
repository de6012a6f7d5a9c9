import type { Overlay } from '../api/overlay-api.ts'
import { OptionError } from '../api/params.ts'
import { type Cred, FileType, type Inode, type Name } from '../api/types.ts'
import { LargeMap } from '../base/large-map.ts'
import { sortInTurns } from '../base/sort-in-turns.ts'
import { shown } from './read-tree.ts'
import { isKeptXattr, type TreeEntry, type TreeEntryType, type TreeItem } from './tree-entry.ts'

const PIECE_BYTES = 256 * 1024
/** The administrator sees everything. */
export const ADMIN: Cred = { uid: 0, gid: 0, groups: [] }

const TYPES: ReadonlyMap<FileType, TreeEntryType> = new Map<FileType, TreeEntryType>([
  [FileType.regular, 'file'],
  [FileType.directory, 'directory'],
  [FileType.symlink, 'symlink'],
  [FileType.character, 'char'],
  [FileType.block, 'block'],
  [FileType.fifo, 'fifo'],
])

/** Makes items of the objects of a view. Names of one file become links to its first one. */
export class ViewItems {
  readonly #overlay: Overlay
  /** The first path of each file with several names, by its identity. */
  readonly #linked = new LargeMap<number, string>()

  constructor(overlay: Overlay) {
    this.#overlay = overlay
  }

  /** The item of an object at a path; undefined for a socket, which means nothing without its process. */
  async of(inode: Inode, path: string): Promise<TreeItem | undefined> {
    const type = TYPES.get(inode.type)
    if (type === undefined) return undefined
    const { mode, uid, gid, mtime, size, nlink, rdevMajor, rdevMinor } = await this.#overlay.getattr(inode)
    const basics = { path, mode, uid, gid, mtime, size: 0 }
    if (type !== 'directory' && nlink > 1) {
      const first = this.#linked.get(inode.key)
      if (first !== undefined) return { entry: { ...basics, type: 'link', target: first } }
      this.#linked.set(inode.key, path)
    }
    const target = type === 'symlink' ? await this.#overlay.readlink(ADMIN, inode) : undefined
    const entry: TreeEntry = {
      ...basics,
      ...{ type, xattrs: await this.#xattrs(inode) },
      ...(target && { target: Buffer.from(target).toString('latin1') }),
      ...((type === 'char' || type === 'block') && { rdev: { major: rdevMajor, minor: rdevMinor } }),
      ...(type === 'file' && { size }),
    }
    return type === 'file' ? { entry, content: () => this.#content(inode, entry) } : { entry }
  }

  /** The names in a directory, in the order of their bytes. */
  async names(dir: Inode): Promise<Name[]> {
    const names: Name[] = []
    await this.#overlay.readdir(ADMIN, dir, 0, ({ name }) => {
      names.push(name)
      return true
    })
    return await sortInTurns(names, (a, b) => (a < b ? -1 : a > b ? 1 : 0))
  }

  async #xattrs(inode: Inode): Promise<Map<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>()
    for (const name of (await this.#overlay.listxattr(ADMIN, inode)).sort()) {
      const value = isKeptXattr(name) ? await this.#overlay.getxattr(ADMIN, inode, name) : undefined
      if (value !== undefined) found.set(name, value)
    }
    return found
  }

  async *#content(inode: Inode, { path, size }: TreeEntry): AsyncGenerator<Uint8Array> {
    const file = await this.#overlay.open(ADMIN, inode, { read: true })
    try {
      for (let at = 0; at < size; ) {
        const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size - at))
        const got = await file.readAside(piece, 0, piece.length, at)
        if (got === 0) throw new OptionError('view', `${shown(path)} became shorter while it was read; try again`)
        at += got
        yield piece.subarray(0, got)
      }
    } finally {
      file.close()
    }
  }
}
