import type { CacheBudget } from '../base/cache-budget.ts'
import type { CallEpochs } from '../layer/call-epochs.ts'
import { Descriptors } from '../layer/descriptors.ts'
import type { Layer } from '../layer/layer.ts'
import { LowerListings } from './lower-listings.ts'
import { LowerNames } from './lower-names.ts'
import { rootOf, type SharedLayer } from './lower-real.ts'

/** The layers below the upper. */
export interface LowerLayers {
  readonly lowers: readonly Layer[]
  readonly data: readonly Layer[]
}

/** The limits that caches of lowers share with those of overlays. */
export interface LowerBudgets {
  readonly names: CacheBudget
  readonly listings: CacheBudget
  readonly directories: CacheBudget
}

/**
 * The lowers of a stack as overlays with the same view of them share it: the objects, with their attributes, marks and descriptors; names, present and
 * absent; and merged listings. Everything is forgotten when the last of these overlays ends, so that the next one sees the lowers as they are then.
 */
export class SharedLowers {
  readonly lowers: readonly SharedLayer[]
  readonly data: readonly SharedLayer[]
  /** The seed of the cookies in listings. */
  readonly cookieSeed: Uint8Array
  readonly #descriptors: Descriptors
  readonly #names: LowerNames
  readonly #listings: LowerListings

  /**
   * @param layers those of the first overlay; their roots belong to the stack
   * @param calls the calls of all overlays on the stack
   * @param revalidates whether the overlays look at changes of the lowers
   */
  constructor(
    { lowers, data }: LowerLayers,
    cookieSeed: Uint8Array,
    budgets: LowerBudgets,
    calls: CallEpochs,
    revalidates: boolean,
  ) {
    this.cookieSeed = cookieSeed
    this.#descriptors = new Descriptors(budgets.directories, calls)
    this.#names = new LowerNames(budgets.names)
    this.#listings = new LowerListings(budgets.listings)
    this.lowers = lowers.map((layer) => this.#share(layer, revalidates))
    this.data = data.map((layer) => this.#share(layer, revalidates))
  }

  /** Forgets everything and closes the descriptors below the roots. No overlay may use it any more. */
  clear(): void {
    this.#names.clear()
    this.#listings.clear()
    this.#descriptors.closeAll()
  }

  #share(layer: Layer, revalidates: boolean): SharedLayer {
    const caches = { descriptors: this.#descriptors, names: this.#names, listings: this.#listings, revalidates }
    const shared: { -readonly [K in keyof SharedLayer]: SharedLayer[K] } = { ...layer, ...caches }
    shared.root = rootOf(shared, layer.root)
    return shared
  }
}
