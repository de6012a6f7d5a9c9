import type { Name } from '../api/types.ts'
import type { LargeMap } from '../base/large-map.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import { type Layer, Real } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import type { Rights } from '../layer/object-rights.ts'
import type { WHITEOUT } from '../layer/whiteout-format.ts'
import type { LowerAttr } from './lower-attr.ts'
import type { LowerListings } from './lower-listings.ts'
import type { LowerNames } from './lower-names.ts'
import type { Listing } from './merged-listing.ts'

/** A lower whose objects several overlays use. */
export interface SharedLayer extends Layer {
  readonly descriptors: Descriptors
  readonly names: LowerNames
  readonly listings: LowerListings
  /** Whether its overlays look at changes of it (option `revalidate`). Then only what a check of its directory covers is remembered. */
  readonly revalidates: boolean
}

/** Records that a lower has nothing at a name. */
export const NOTHING = Symbol('nothing')

/** What a lower has at a name. */
export type LowerName = LowerReal | typeof WHITEOUT | typeof NOTHING

/** What is known of the content of a lower directory. */
export class LowerDirectory {
  /** Counts the changes that were noticed. What was read before a change is not remembered after it. */
  version = 0
  /** The names that were looked up. Only `LowerNames` changes it. */
  names: LargeMap<Name, LowerName> | undefined = undefined
  /** How many of `names` the layer has nothing at. */
  absences = 0
  /** Whether `names` was used recently, for the second chance of `LowerNames`. */
  used = false
  /** Whether the marks of the directory were read into its `Real`. */
  marksKnown = false
  /** The merged names of `merged`, of which this directory is the topmost. Only `LowerListings` changes these three. */
  listing: Listing | undefined = undefined
  merged: readonly Real[] = []
  /** The value of `versionOf(merged)` before they were read. */
  mergedVersion = 0
}

/** Attributes that clients see, and what they depend on. */
interface ShownAttr {
  readonly attr: CheckedAttr
  readonly rights: Rights | undefined
  /** Whether it is a directory that merges several lowers. */
  readonly merges: boolean
}

/**
 * A lower object that all overlays of a stack use together. It refers to nothing that belongs to one of them. What it remembers is the same for all of
 * them, because overlays that would see the lowers differently do not share objects (`SharedLowers`).
 */
export class LowerReal extends Real {
  declare readonly layer: SharedLayer
  /** As it was found; undefined for the root of a layer. */
  attr: LowerAttr | undefined
  /** Whether it is a directory that has changed since `attr` was read. */
  stale = false
  /** ACLs and recorded owner; undefined if they were never read, or if `plain` says that there are none. */
  rights: Rights | undefined = undefined
  /** The attributes that clients see, if not `attr`. */
  shown: ShownAttr | undefined = undefined
  #directory: LowerDirectory | undefined = undefined

  constructor(layer: SharedLayer, parent: LowerReal | undefined, name: Name, ino: number, attr?: LowerAttr) {
    super(layer, parent, name, ino)
    this.attr = attr
  }

  /** What is known of its content; undefined if nothing is. */
  get directory(): LowerDirectory | undefined {
    return this.#directory
  }

  /** For a directory: where to note what is learned of its content. */
  get content(): LowerDirectory {
    this.#directory ??= new LowerDirectory()
    return this.#directory
  }
}

/** Forgets what was known of a directory that has changed. Overlays notice by `versionOf` that another one has noticed the change. */
export function noteChange(dir: LowerReal): void {
  const { content, layer } = dir
  content.version++
  content.marksKnown = false
  layer.names.forget(dir)
  dir.xwhiteouts = undefined
  dir.plain = false
  dir.stale = true
}

/** A number that grows with each change of one of `dirs` that an overlay of the stack has noticed. */
export function versionOf(dirs: readonly Real[]): number {
  let version = 0
  for (const dir of dirs) if (dir instanceof LowerReal) version += dir.directory?.version ?? 0
  return version
}

/** The root of `layer`, with the descriptor of `root`. */
export function rootOf(layer: SharedLayer, root: Real): LowerReal {
  const real = new LowerReal(layer, undefined, '', root.ino)
  real.fd = root.fd
  return real
}
