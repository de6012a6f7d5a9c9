import { LRUCache } from 'lru-cache'
import type { Name } from '../api/types.ts'
import { Dentry, OvlInode } from './dentry.ts'

/** How many inodes are let go between two turns of the event loop: a millisecond's work. */
const WEAKENED_AT_ONCE = 2000

/** Keeps a place in the list of leaves, which would clear all of its memory whenever its last entry went: 1 ms for a large one. */
const KEEPER = Symbol('keeper')
/** A list so small is cleared at once. */
const SMALL_LIMIT = 64

type Leaves = LRUCache<Dentry | typeof KEEPER, true>

/**
 * The dentry cache: names looked up in the layers, present and absent ones, at most `limit` of them.
 *
 * Only leaves can be dropped: a directory with cached names stays (as a dentry holds its parent in the kernel), so the cache may
 * exceed the limit by the number of such directories. Inodes are found again by identity as long as anyone holds them: strongly as long
 * as a name of theirs is cached, which costs less memory, then weakly.
 */
export class DentryCache {
  readonly #limit: number
  #leaves: Leaves
  readonly #inodes = new Map<number, OvlInode | WeakRef<OvlInode>>()
  /** Those with an upper whose key does not tell its inode number, by that. */
  readonly #uppers = new Map<number, WeakRef<OvlInode>>()
  readonly #uppersCollected = new FinalizationRegistry<number>((ino) => {
    if (this.#uppers.get(ino)?.deref() === undefined) this.#uppers.delete(ino)
  })
  readonly #collected = new FinalizationRegistry<number>((key) => {
    if (this.inode(key) === undefined) this.#inodes.delete(key)
  })

  constructor(limit: number) {
    this.#limit = limit
    this.#leaves = this.#noLeaves()
  }

  #noLeaves(): Leaves {
    return new LRUCache<Dentry | typeof KEEPER, true>({
      max: this.#limit,
      // After: forgetting a name may put its directory back among the leaves, which the cache takes only when it is whole again.
      disposeAfter: (_value, dentry, reason) => {
        if (reason === 'evict' && dentry !== KEEPER) this.#forget(dentry)
      },
    })
  }

  /** Names that could be dropped now; directories that hold others are not counted. */
  get leafCount(): number {
    return this.#leaves.size - (this.#leaves.has(KEEPER) ? 1 : 0)
  }

  /** The cached dentry of `name` in `dir`, undefined when it is not known. */
  get(dir: OvlInode, name: Name): Dentry | undefined {
    const dentry = dir.children?.get(name)
    // As long as there is plenty of room nobody asks which names were used last.
    if (dentry !== undefined && this.#leaves.size > this.#limit / 2) this.#leaves.get(dentry)
    return dentry
  }

  /** Remembers what `name` in `dir` is, instead of what was known before. */
  set(dir: OvlInode, name: Name, inode: OvlInode | undefined): Dentry {
    this.remove(dir, name)
    const dentry = new Dentry(dir, name, inode)
    if (dir.children === undefined) {
      dir.children = new Map()
      this.#pin(dir)
    }
    dir.children.set(name, dentry)
    if (inode) this.#hold(inode, dentry)
    if (inode?.children === undefined) this.#leaves.set(dentry, true)
    return dentry
  }

  /** Forgets `name` in `dir`. */
  remove(dir: OvlInode, name: Name): void {
    const dentry = dir.children?.get(name)
    if (dentry === undefined) return
    this.#unlist(dentry)
    this.#forget(dentry)
  }

  /** The inode with this key, if anybody still holds it. */
  inode(key: number): OvlInode | undefined {
    const found = this.#inodes.get(key)
    return found instanceof WeakRef ? found.deref() : found
  }

  /** Makes an inode known by its key; it is to be given a name (`set`) or let go at once. */
  addInode(inode: OvlInode): void {
    this.#inodes.set(inode.key, inode)
  }

  /** The inode of the upper object with this inode number, if anybody still holds it and `addUpper` was told of it. */
  inodeOfUpper(ino: number): OvlInode | undefined {
    const inode = this.#uppers.get(ino)?.deref()
    return inode?.upper?.ino === ino && !inode.unlinked ? inode : undefined
  }

  /** To be called for an inode that was copied up, or that was found with an origin: whatever becomes of the lower, its upper leads to it. */
  addUpper(inode: OvlInode): void {
    const { upper } = inode
    if (!upper) return
    this.#uppers.set(upper.ino, new WeakRef(inode))
    this.#uppersCollected.register(inode, upper.ino)
  }

  /** Takes an object that is gone out, so that its key may be used by another. */
  removeInode(inode: OvlInode): void {
    if (this.inode(inode.key) === inode) this.#inodes.delete(inode.key)
  }

  /** An inode without a cached name is known only as long as anybody else holds it. */
  letGo(inode: OvlInode): void {
    if (this.#inodes.get(inode.key) !== inode) return
    for (const { dir, name } of inode.aliases) if (dir.children?.get(name)?.inode === inode) return
    this.#weaken(inode)
  }

  #weaken(inode: OvlInode): void {
    this.#inodes.set(inode.key, new WeakRef(inode))
    this.#collected.register(inode, inode.key)
  }

  #hold(inode: OvlInode, dentry: Dentry): void {
    inode.shareAlias(dentry)
    const known = this.#inodes.get(inode.key)
    if (known instanceof WeakRef && known.deref() === inode) this.#inodes.set(inode.key, inode)
  }

  /**
   * Forgets all names at once, and leaves it to the caller that no directory goes on using those that it still holds (`children`). Inodes
   * are found by identity as before.
   */
  forgetAllNames(): void {
    this.#leaves = this.#noLeaves()
    this.#weakenSome([...this.#inodes.keys()], 0)
  }

  /** A weak hold is right for any inode, so this may take its time. */
  #weakenSome(keys: readonly number[], from: number): void {
    const end = Math.min(keys.length, from + WEAKENED_AT_ONCE)
    for (let i = from; i < end; i++) {
      const inode = this.#inodes.get(keys[i] as number)
      if (inode instanceof OvlInode && inode.alias) this.#weaken(inode)
    }
    if (end < keys.length) setImmediate(() => this.#weakenSome(keys, end))
  }

  clear(): void {
    this.#leaves = this.#noLeaves()
    this.#inodes.clear()
    this.#uppers.clear()
  }

  #forget(dentry: Dentry): void {
    const { dir } = dentry
    if (dir.children?.get(dentry.name) !== dentry) return
    dir.children.delete(dentry.name)
    if (dentry.inode) this.letGo(dentry.inode)
    if (dir.children.size > 0) return
    dir.children = undefined
    const own = this.#ownDentry(dir)
    if (own) this.#leaves.set(own, true)
  }

  /** A directory that gets its first cached name may not be dropped before it. */
  #pin(dir: OvlInode): void {
    const own = this.#ownDentry(dir)
    if (own) this.#unlist(own)
  }

  #unlist(dentry: Dentry): void {
    const leaves = this.#leaves
    if (leaves.size === 1 && this.#limit > SMALL_LIMIT && leaves.has(dentry)) leaves.set(KEEPER, true)
    leaves.delete(dentry)
  }

  #ownDentry(dir: OvlInode): Dentry | undefined {
    const { alias } = dir
    const own = alias?.dir.children?.get(alias.name)
    return own?.inode === dir ? own : undefined
  }
}
