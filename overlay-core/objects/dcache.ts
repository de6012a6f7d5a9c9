import type { Name } from '../api/types.ts'
import type { BudgetedCache, CacheBudget, CacheShare } from '../base/cache-budget.ts'
import { LargeMap } from '../base/large-map.ts'
import { keepsIdentities } from '../layer/layer.ts'
import { Dentry, OvlInode } from './dentry.ts'
import { LeafList } from './leaf-list.ts'

/** The number of inodes released in one turn of the event loop, about a millisecond of work. */
const WEAKENED_AT_ONCE = 2000

/**
 * The dentry cache: names looked up in the layers, present or absent, at most `limit` of them, and in all caches of the budget at most its limit.
 *
 * Only leaves can be dropped: a directory with cached names stays (like a dentry that holds its parent in the kernel), so the cache may
 * exceed the limit by the number of such directories. Inodes can be found by identity as long as anybody uses them. They are held strongly as
 * long as one of their names is cached, which needs less memory, and then weakly.
 */
export class DentryCache implements BudgetedCache {
  readonly #limit: number
  readonly #share: CacheShare
  #leaves = new LeafList()
  readonly #inodes = new LargeMap<number, OvlInode | WeakRef<OvlInode>>()
  /** Inodes with an upper whose key does not contain its inode number, by that number. */
  readonly #uppers = new LargeMap<number, WeakRef<OvlInode>>()
  readonly #uppersCollected = new FinalizationRegistry<number>((ino) => {
    if (this.#uppers.get(ino)?.deref() === undefined) this.#uppers.delete(ino)
  })
  readonly #collected = new FinalizationRegistry<number>((key) => {
    if (this.inode(key) === undefined) this.#inodes.delete(key)
  })

  constructor(limit: number, budget: CacheBudget) {
    this.#limit = limit
    this.#share = budget.join(this)
  }

  /** The number of evictable names; directories with cached names are not counted. */
  get leafCount(): number {
    return this.#leaves.size
  }

  /** The cached dentry of `name` in `dir`, or undefined. */
  get(dir: OvlInode, name: Name): Dentry | undefined {
    const dentry = dir.children?.get(name)
    if (dentry !== undefined) this.#share.use()
    // While there is plenty of space, it does not matter which names were used last.
    if (dentry?.list === this.#leaves && this.#leaves.size > this.#limit / 2) this.#leaves.add(dentry)
    return dentry
  }

  /** Caches a dentry for `name` in `dir`, replacing an earlier one. */
  set(dir: OvlInode, name: Name, inode: OvlInode | undefined): Dentry {
    this.remove(dir, name)
    this.#share.use()
    const dentry = new Dentry(dir, name, inode)
    if (dir.children === undefined) {
      dir.children = new LargeMap()
      this.#pin(dir)
    }
    dir.children.set(name, dentry)
    if (inode) this.#hold(inode, dentry)
    if (inode?.children === undefined) this.#addLeaf(dentry)
    return dentry
  }

  /** Removes `name` in `dir` from the cache. */
  remove(dir: OvlInode, name: Name): void {
    const dentry = dir.children?.get(name)
    if (dentry === undefined) return
    this.#removeLeaf(dentry)
    this.#forget(dentry)
  }

  /** Drops the `count` names used longest ago. */
  giveUp(count: number): void {
    for (let left = count; left > 0; left--) {
      const { oldest } = this.#leaves
      if (oldest === undefined) return
      this.#removeLeaf(oldest)
      // This may turn its directory into a leaf.
      this.#forget(oldest)
    }
  }

  #addLeaf(dentry: Dentry): void {
    const { size } = this.#leaves
    this.#leaves.add(dentry)
    this.#share.grow(this.#leaves.size - size)
    while (this.#leaves.size > this.#limit) this.giveUp(1)
  }

  #removeLeaf(dentry: Dentry): void {
    if (dentry.list !== this.#leaves) return
    this.#leaves.delete(dentry)
    this.#share.shrink(1)
  }

  /** The inode with this key, if anybody still uses it. */
  inode(key: number): OvlInode | undefined {
    const found = this.#inodes.get(key)
    return found instanceof WeakRef ? found.deref() : found
  }

  /** Registers an inode under its key. The caller must then give it a name (`set`) or release it (`letGo`). */
  addInode(inode: OvlInode): void {
    this.#inodes.set(inode.key, inode)
  }

  /** Whether an inode for which `addUpper` was called may still be in use. */
  get hasUppers(): boolean {
    return this.#uppers.size > 0
  }

  /** The inode of the object of the upper, or of a layer that was the upper, with this inode number, if anybody still uses it and `addUpper` was called for it. */
  inodeOfUpper(ino: number): OvlInode | undefined {
    const inode = this.#uppers.get(ino)?.deref()
    if (inode === undefined || inode.unlinked) return undefined
    const { real } = inode
    return real.ino === ino && keepsIdentities(real.layer) ? inode : undefined
  }

  /** Must be called for an inode that was copied up or found with an origin, so that its upper leads to it whatever happens to the lower. */
  addUpper(inode: OvlInode): void {
    const { upper } = inode
    if (!upper) return
    this.#uppers.set(upper.ino, new WeakRef(inode))
    this.#uppersCollected.register(inode, upper.ino)
  }

  /** Removes an object that no longer exists, so that another one can use its key. */
  removeInode(inode: OvlInode): void {
    if (this.inode(inode.key) === inode) this.#inodes.delete(inode.key)
  }

  /** Makes the cache hold an inode without a cached name only weakly. */
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
   * Forgets all names at once. The caller must make sure that no directory continues to use the names that it still holds (`children`). Inodes
   * can still be found by identity.
   */
  forgetAllNames(): void {
    this.#giveUpLeaves()
    this.#weakenSome(this.#inodes.keys())
  }

  #giveUpLeaves(): void {
    const leaves = this.#leaves
    this.#leaves = new LeafList()
    this.#share.clear()
    leaves.dissolve()
  }

  /** Turns strong holds into weak ones. A weak hold is correct for any inode, so this may take its time and include inodes added meanwhile. */
  #weakenSome(keys: Iterator<number, undefined>): void {
    for (let left = WEAKENED_AT_ONCE; left > 0; left--) {
      const { value: key } = keys.next()
      if (key === undefined) return
      const inode = this.#inodes.get(key)
      if (inode instanceof OvlInode && inode.alias) this.#weaken(inode)
    }
    setImmediate(() => this.#weakenSome(keys))
  }

  clear(): void {
    this.#giveUpLeaves()
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
    if (own) this.#addLeaf(own)
  }

  /** A directory with a cached name must not be dropped before it. */
  #pin(dir: OvlInode): void {
    const own = this.#ownDentry(dir)
    if (own) this.#removeLeaf(own)
  }

  #ownDentry(dir: OvlInode): Dentry | undefined {
    const { alias } = dir
    const own = alias?.dir.children?.get(alias.name)
    return own?.inode === dir ? own : undefined
  }
}
