import type { BudgetedCache, CacheBudget, CacheShare } from '../base/cache-budget.ts'
import type { Real } from '../layer/layer.ts'
import { LowerReal, versionOf } from './lower-real.ts'
import { entriesOf, type Listing } from './merged-listing.ts'

/** A listing that is being read. */
interface Reading {
  readonly dirs: readonly Real[]
  readonly version: number
  readonly listing: Promise<Listing>
}

/** The merged listings of lower directories, for the overlays of a stack. No overlay keeps one, so that it is gone when it is dropped. */
export class LowerListings implements BudgetedCache {
  readonly #share: CacheShare
  /** The topmost directory of each listing, in the order of reading. */
  readonly #tops = new Set<LowerReal>()
  /** By the topmost directory. */
  readonly #reading = new Map<LowerReal, Reading>()
  /** The directory whose listing is being added, which stays for its reader, however long it is. */
  #adding: LowerReal | undefined

  /** @param budget counts the entries */
  constructor(budget: CacheBudget) {
    this.#share = budget.join(this)
  }

  get(top: LowerReal, dirs: readonly Real[]): Listing | undefined {
    const { directory } = top
    if (!directory?.listing || !isSame(directory.merged, dirs)) return undefined
    if (directory.mergedVersion !== versionOf(dirs)) return undefined
    this.#share.use()
    return directory.listing
  }

  /**
   * Reads the listing of `dirs`, `top` first, and keeps it. All callers that ask before it is read wait for one reading, because many overlays may begin with
   * the same large directory.
   */
  once(top: LowerReal, dirs: readonly Real[], read: () => Promise<Listing>): Promise<Listing> {
    const version = versionOf(dirs)
    const earlier = this.#reading.get(top)
    if (earlier && earlier.version === version && isSame(earlier.dirs, dirs)) return earlier.listing
    const listing = this.#read(top, dirs, version, read).finally(() => {
      if (this.#reading.get(top) === reading) this.#reading.delete(top)
    })
    const reading = { dirs, version, listing }
    this.#reading.set(top, reading)
    return listing
  }

  async #read(top: LowerReal, dirs: readonly Real[], version: number, read: () => Promise<Listing>): Promise<Listing> {
    const listing = await read()
    this.add(top, dirs, listing, version)
    return listing
  }

  /**
   * @param dirs the directories that are merged, `top` first
   * @param version the value of `versionOf(dirs)` before they were read
   */
  add(top: LowerReal, dirs: readonly Real[], listing: Listing, version: number): void {
    this.#drop(top)
    top.content.mergedVersion = version
    top.content.listing = listing
    top.content.merged = dirs
    this.#tops.add(top)
    this.#adding = top
    this.#share.grow(entriesOf(listing))
    this.#share.use()
    this.#adding = undefined
  }

  giveUp(count: number): void {
    const least = this.#share.size - count
    for (const top of this.#tops) {
      if (this.#share.size <= least) return
      if (top !== this.#adding) this.#drop(top)
    }
  }

  clear(): void {
    for (const top of this.#tops) this.#drop(top)
  }

  #drop(top: LowerReal): void {
    if (!this.#tops.delete(top)) return
    const { content } = top
    if (content.listing) this.#share.shrink(entriesOf(content.listing))
    content.listing = undefined
    content.merged = []
  }
}

/** `dirs` as objects of a stack; undefined if there is none, or one of them is not. */
export function lowerReals(dirs: readonly Real[]): readonly [LowerReal, ...LowerReal[]] | undefined {
  return dirs.length > 0 && dirs.every((dir) => dir instanceof LowerReal)
    ? (dirs as readonly Real[] as readonly [LowerReal, ...LowerReal[]])
    : undefined
}

function isSame(one: readonly Real[], other: readonly Real[]): boolean {
  return one === other || (one.length === other.length && one.every((dir, i) => dir === other[i]))
}
