import type { RealFile } from './file-cache.ts'
import type { Real } from './layer.ts'
import { RwLock } from './lock.ts'
import type { CheckedAttr } from './permission.ts'
import type { Listing } from './readdir.ts'
import type { Rights } from './rights.ts'
import type { FileType, Inode, Name, Time } from './types.ts'

/** Where an object is found: a name in a directory of the overlay. */
export interface Alias {
  readonly dir: OvlInode
  readonly name: Name
}

/**
 * An object of the overlay (as `struct ovl_inode`): its identity and what it is made of. Directories merge `upper` and all of
 * `lowers`; of anything else only the topmost counts, and `lowers` has at most one entry, the one to copy up from.
 */
export class OvlInode implements Inode {
  readonly key: number
  readonly generation: number
  readonly type: FileType
  wireHandle: Uint8Array | undefined = undefined

  upper: Real | undefined
  lowers: readonly Real[]
  /** High and low word of the file id that clients see. */
  readonly fileIdHi: number
  readonly fileIdLo: number

  /** The upper object, or the topmost lower, holds attributes only: its data is in `dataReal`. */
  metacopy = false
  /** Where the data of a regular file is when that is not the topmost real object. */
  dataReal: Real | undefined = undefined

  /** The names known to the core, the one for copy-up first. Exactly one for a directory; empty once unlinked. */
  aliases: Alias[]
  /** No name is left: only what is open can still be used. */
  unlinked = false
  /** Attributes as last read; undefined when they must be read anew. Every change through the core drops them. */
  attr: CheckedAttr | undefined = undefined
  /** ACLs and recorded owner; undefined when they were never read. They outlive changes of other attributes. */
  rights: Rights | undefined = undefined
  /** The stack of layers that it was looked up in last (`SuperBlock.epoch`). */
  epoch = 0
  /** A layer was changed where it was found: it has to be looked up again. */
  recheck = false
  /** When it was last compared with its lowers, in ms of the clock (option `revalidate`). */
  checkedAtMs = 0
  /** The latest ctime of a lower of a directory, if that was seen to change. */
  lowerChanged: Time | undefined = undefined
  /** A client has been given the identity: it must lead back here for ever. */
  retained = false
  /** The value of `changes` for which it is known that no extended attribute would go along to a file that takes its place; -1: unknown. */
  bareAt = -1
  /** Counts changes, so that attributes read before a change are not kept after it. */
  changes = 0
  /** Counts how often the times of a directory were put back, before it happened and after. */
  timesKept = 0
  /** Writes under way, for weak cache consistency. */
  writing = 0
  /** The upper object carries an origin: a directory that takes it in becomes impure. */
  hasOrigin = false
  /** What the overlay's link count is above the upper's (`overlay.nlink`); undefined when not indexed. */
  nlinkDelta: number | undefined = undefined
  /** Hex name in the index directory, for an indexed hard link. */
  indexName: string | undefined = undefined
  /** Names of the lower object of an indexed hard link. */
  lowerNlink = 0

  /** Cached dentries below a directory, negative ones included. */
  children: Map<Name, Dentry> | undefined = undefined
  listing: Listing | undefined = undefined
  file: RealFile | undefined = undefined
  /** Open handles that read a lower's data: they change to the upper at their next read, or before the last name goes. */
  lowerHandles: Set<{ beforeLastName(): Promise<void> }> | undefined = undefined
  copying: Promise<void> | undefined = undefined
  #dirLock: RwLock | undefined = undefined
  #nodeLock: RwLock | undefined = undefined

  constructor(
    identity: { key: number; generation: number; type: FileType; fileIdHi: number; fileIdLo: number },
    upper: Real | undefined,
    lowers: readonly Real[],
  ) {
    this.key = identity.key
    this.generation = identity.generation
    this.type = identity.type
    this.fileIdHi = identity.fileIdHi
    this.fileIdLo = identity.fileIdLo
    this.upper = upper
    this.lowers = lowers
    this.aliases = []
  }

  /** Guards the names in this directory. */
  get dirLock(): RwLock {
    this.#dirLock ??= new RwLock()
    return this.#dirLock
  }

  /** Guards the object's attributes, links and place. */
  get nodeLock(): RwLock {
    this.#nodeLock ??= new RwLock()
    return this.#nodeLock
  }

  /** The topmost real object: the one whose attributes and data count. */
  get real(): Real {
    return this.upper ?? (this.lowers[0] as Real)
  }

  /** Drops what was remembered of the attributes, as they changed. */
  changed(): void {
    this.attr = undefined
    this.changes++
  }

  addAlias(dir: OvlInode, name: Name): void {
    for (const alias of this.aliases) if (alias.dir === dir && alias.name === name) return
    this.aliases.push({ dir, name })
  }

  /** It was looked up at this name: that is the one to be copied up, if any is (as the dentry of a system call in the kernel). */
  foundAt(dir: OvlInode, name: Name): void {
    const { aliases } = this
    if (aliases.length < 2) return
    const at = aliases.findIndex((alias) => alias.dir === dir && alias.name === name)
    if (at > 0) this.aliases = [aliases[at] as Alias, ...aliases.toSpliced(at, 1)]
  }

  removeAlias(dir: OvlInode, name: Name): void {
    this.aliases = this.aliases.filter((alias) => alias.dir !== dir || alias.name !== name)
  }
}

/** A name in a directory: an object, or a remembered absence (negative dentry). */
export class Dentry {
  readonly dir: OvlInode
  readonly name: Name
  readonly inode: OvlInode | undefined

  constructor(dir: OvlInode, name: Name, inode: OvlInode | undefined) {
    this.dir = dir
    this.name = name
    this.inode = inode
  }
}
