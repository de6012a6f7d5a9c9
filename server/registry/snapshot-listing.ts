import { createHash } from 'node:crypto'
import {
  Access,
  type Attr,
  type Cred,
  type DirEntry,
  type DirEntryPlus,
  FileType,
  type Inode,
  type LookupAttrs,
  type MountOptions,
  type Name,
  type Overlay,
  OverlayError,
  type StatFs,
  type Time,
} from '../../overlay-core/index.ts'

/** A snapshot in the list. */
export interface ListedSnapshot {
  readonly name: string
  /** 16 hexadecimal digits that no other snapshot has. */
  readonly id: string
  /** In ms since the epoch. */
  readonly createdMs: number
}

/** What is listed, and to whom it belongs. */
export interface ListingParts {
  /** 16 hexadecimal digits that no other view has. */
  readonly id: string
  readonly options: MountOptions
  readonly owner: () => Pick<Cred, 'uid' | 'gid'>
  /** The present snapshots, oldest first. */
  readonly list: () => readonly ListedSnapshot[]
}

/** A directory in which everybody may look. */
const MODE = 0o555
/** Whether the caller may read and search. */
const GRANTED = Access.read | Access.execute
const ROOT_KEY = 1
const KEY_BITS = 2 ** 20

/** The directory `.snapshot` of a view, as an overlay that nobody can change: an empty directory for each snapshot. Behind their names adapters show the snapshots. */
export class SnapshotListing implements Overlay {
  readonly root: Inode = { key: ROOT_KEY, generation: 1, type: FileType.directory }
  readonly readOnly = true
  readonly notices = []
  readonly uuid: Uint8Array
  readonly options: MountOptions
  readonly #parts: ListingParts

  constructor(parts: ListingParts) {
    this.#parts = parts
    this.options = parts.options
    this.uuid = createHash('sha256').update(parts.id).digest().subarray(0, 16)
  }

  lookup(_cred: Cred, dir: Inode, name: Name, asked?: LookupAttrs): Inode | undefined {
    if (asked) asked.dirAttr = this.getattr(dir)
    const found = dir.key === ROOT_KEY ? this.#parts.list().find((each) => bytesOf(each.name) === name) : undefined
    if (found === undefined) return undefined
    if (asked) asked.attr = this.#attrOf(found)
    return inodeOf(found)
  }

  parent(_cred: Cred, _dir: Inode, asked?: LookupAttrs): Inode {
    if (asked) asked.dirAttr = this.getattr(this.root)
    return this.root
  }

  paths(inode: Inode): readonly (readonly Name[])[] {
    if (inode.key === ROOT_KEY) return [[]]
    const found = this.#of(inode.key)
    return found ? [[bytesOf(found.name)]] : []
  }

  inodeByKey(key: number, generation: number): Inode {
    const found = key === ROOT_KEY ? this.root : this.#of(key)
    if (found === undefined || generation !== 1) throw new OverlayError('ESTALE', 'lookup')
    return found === this.root ? this.root : inodeOf(found as ListedSnapshot)
  }

  retain(): boolean {
    return false
  }

  retained(): undefined {
    return undefined
  }

  getattr(inode: Inode): Attr {
    const snapshots = this.#parts.list()
    if (inode.key === ROOT_KEY) {
      const { id } = this.#parts
      const createdMs = snapshots.reduce((latest, each) => Math.max(latest, each.createdMs), 0)
      return this.#attrOf({ name: '', id, createdMs }, snapshots.length)
    }
    const found = this.#of(inode.key)
    if (found === undefined) throw new OverlayError('ESTALE', 'getattr')
    return this.#attrOf(found)
  }

  access(_cred: Cred, _inode: Inode, mask: number): number {
    return mask & GRANTED
  }

  readlink(): never {
    throw new OverlayError('EINVAL', 'readlink')
  }

  provenance(): Promise<'lower'> {
    return Promise.resolve('lower')
  }

  async removedNames(): Promise<Name[]> {
    return []
  }

  async ownNames(): Promise<Name[]> {
    return []
  }

  identityBelow(): undefined {
    return undefined
  }

  readdir(_cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntry) => boolean): boolean {
    if (dir.key !== ROOT_KEY) return true
    for (const { snapshot, order } of ordered(this.#parts.list())) {
      const { fileIdHi, fileIdLo } = fileIdOf(snapshot.id)
      const name = bytesOf(snapshot.name)
      if (order > cookie && !fill({ name, type: FileType.directory, fileIdHi, fileIdLo, cookie: order })) return false
    }
    return true
  }

  readdirPlus(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntryPlus) => boolean): boolean {
    return this.readdir(cred, dir, cookie, (entry) => {
      const inode = this.lookup(cred, dir, entry.name)
      return fill({ ...entry, inode, attr: inode && this.getattr(inode) })
    })
  }

  read(): never {
    throw new OverlayError('EISDIR', 'read')
  }

  async getxattr(): Promise<undefined> {
    return undefined
  }

  async listxattr(): Promise<string[]> {
    return []
  }

  async getProtocolData(): Promise<undefined> {
    return undefined
  }

  async statfs(): Promise<StatFs> {
    const none = { totalBytes: 0, freeBytes: 0, availableBytes: 0, totalFiles: 0, freeFiles: 0 }
    return { ...none, nameMax: 255, blockSize: 4096 }
  }

  async resumableStages(): Promise<[]> {
    return []
  }

  commitChanges(): undefined {
    return undefined
  }

  commit(): Promise<void> {
    return Promise.resolve()
  }

  sync(): Promise<void> {
    return Promise.resolve()
  }

  unmount(): Promise<void> {
    return Promise.resolve()
  }

  async open(): Promise<never> {
    throw new OverlayError('EISDIR', 'open')
  }

  setattr = refuse
  create = refuse
  mkdir = refuse
  symlink = refuse
  mknod = refuse
  link = refuse
  unlink = refuse
  rmdir = refuse
  rename = refuse
  restore = refuse
  dropCopy = refuse
  write = refuse
  allocate = refuse
  stage = refuse
  setxattr = refuse
  removexattr = refuse
  setProtocolData = refuse
  remount = refuse
  freeze = refuse
  squash = refuseAtOnce

  #of(key: number): ListedSnapshot | undefined {
    return this.#parts.list().find((each) => keyOf(each.id) === key)
  }

  #attrOf({ id, createdMs }: ListedSnapshot, inside = 0): Attr {
    const { uid, gid } = this.#parts.owner()
    const at: Time = { sec: Math.floor(createdMs / 1000), nsec: (createdMs % 1000) * 1e6 }
    return {
      ...{ type: FileType.directory, mode: MODE, nlink: 2 + inside, uid, gid, size: 0, blocks: 0, rdevMajor: 0 },
      ...{ rdevMinor: 0, ...fileIdOf(id), atime: at, mtime: at, ctime: at, btime: at },
    }
  }
}

function refuseAtOnce(): never {
  throw new OverlayError('EROFS', 'snapshot')
}

async function refuse(): Promise<never> {
  throw new OverlayError('EROFS', 'snapshot')
}

/** The snapshots with their positions: the same for each, whatever others come and go. */
export function ordered(
  snapshots: readonly ListedSnapshot[],
): { readonly snapshot: ListedSnapshot; readonly order: number }[] {
  return snapshots.map((snapshot) => ({ snapshot, order: orderOf(snapshot) })).sort((a, b) => a.order - b.order)
}

/** The position of a snapshot: by its time, and by its id among those of a millisecond. */
export function orderOf({ createdMs, id }: ListedSnapshot): number {
  return createdMs * 1024 + (Number.parseInt(id.slice(-3), 16) & 1023) + 1
}

function inodeOf({ id }: ListedSnapshot): Inode {
  return { key: keyOf(id), generation: 1, type: FileType.directory }
}

/** 52 bits of the id, which is random; never that of the root. */
function keyOf(id: string): number {
  return Number.parseInt(id.slice(0, 8), 16) * KEY_BITS + Number.parseInt(id.slice(11), 16)
}

function fileIdOf(id: string): Pick<Attr, 'fileIdHi' | 'fileIdLo'> {
  return { fileIdHi: Number.parseInt(id.slice(0, 8), 16), fileIdLo: Number.parseInt(id.slice(8), 16) }
}

function bytesOf(text: string): Name {
  return Buffer.from(text, 'utf8').toString('latin1')
}
