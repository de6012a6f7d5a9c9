import type { Name } from '../api/types.ts'
import type { BudgetedCache, CacheBudget, CacheShare } from '../base/cache-budget.ts'
import { cookieOf, entriesOf, firstAfter, type Listing } from '../stack/merged-listing.ts'
import type { OvlInode } from './dentry.ts'

/** Limits the number of entries in cached merged listings; the directory read longest ago is dropped first. */
export class ListingCache implements BudgetedCache {
  readonly #limit: number
  readonly #share: CacheShare
  #seed: Uint8Array
  readonly #dirs = new Set<OvlInode>()
  readonly #reading = new Map<OvlInode, Promise<Listing>>()
  /** The directory whose listing is being added, which stays for its reader, however long it is. */
  #adding: OvlInode | undefined

  /** @param seed that of the cookies */
  constructor(limitEntries: number, budget: CacheBudget, seed: Uint8Array) {
    this.#limit = limitEntries
    this.#seed = seed
    this.#share = budget.join(this)
  }

  /** Uses another seed for the cookies from now on; there must be no listing. */
  set seed(seed: Uint8Array) {
    this.#seed = seed
  }

  add(dir: OvlInode, listing: Listing): void {
    this.drop(dir)
    dir.listing = listing
    this.#dirs.add(dir)
    this.#adding = dir
    this.#share.grow(entriesOf(listing))
    this.#share.use()
    if (this.#share.size > this.#limit) this.giveUp(this.#share.size - this.#limit)
    this.#adding = undefined
  }

  /** Drops the listings read longest ago, until `count` entries are gone. */
  giveUp(count: number): void {
    const least = this.#share.size - count
    for (const oldest of this.#dirs) {
      if (this.#share.size <= least || oldest === this.#adding) return
      this.drop(oldest)
    }
  }

  /** Reads a directory once for all concurrent callers. */
  once(dir: OvlInode, read: () => Promise<Listing>): Promise<Listing> {
    let reading = this.#reading.get(dir)
    if (reading === undefined) {
      reading = read().finally(() => this.#reading.delete(dir))
      this.#reading.set(dir, reading)
    }
    return reading
  }

  /** Drops the listing of a changed directory. */
  drop(dir: OvlInode): void {
    if (!dir.listing) return
    if (this.#dirs.delete(dir)) this.#share.shrink(entriesOf(dir.listing))
    dir.listing = undefined
  }

  /** Drops all listings. No directory may continue to use the one that it still holds. */
  clear(): void {
    this.#dirs.clear()
    this.#share.clear()
  }

  /** Adds a new name without reading the directory again. */
  insert(dir: OvlInode, name: Name, inode: OvlInode): void {
    const { listing } = dir
    if (!listing) return
    const cookie = cookieOf(this.#seed, name)
    const at = firstAfter(listing, cookie - 1)
    if (listing.entries[at]?.cookie === cookie) {
      // Either the name itself or an equal cookie, which is rare enough to read everything again.
      this.drop(dir)
      return
    }
    const { type, fileIdHi, fileIdLo } = inode
    const before = entriesOf(listing)
    listing.entries.splice(at, 0, { name, cookie, type, fileIdHi, fileIdLo })
    if (this.#dirs.has(dir)) this.#share.grow(entriesOf(listing) - before)
  }

  remove(dir: OvlInode, name: Name): void {
    const { listing } = dir
    if (!listing) return
    const at = firstAfter(listing, cookieOf(this.#seed, name) - 1)
    if (listing.entries[at]?.name !== name) {
      this.drop(dir)
      return
    }
    const before = entriesOf(listing)
    listing.entries.splice(at, 1)
    if (this.#dirs.has(dir)) this.#share.shrink(before - entriesOf(listing))
  }
}
