import type { FileType, Inode, Name } from '../api/types.ts'

/** What differs between an object and what it was: for directories never the time, which each change in them sets. */
export type Aspect = 'type' | 'content' | 'target' | 'device' | 'mode' | 'owner' | 'attributes' | 'time'

/** One difference of an overlay from another one over some of the same layers. */
export interface Difference {
  /**
   * `same`: the own layers contain the object, but nothing differs. `renamed`: it was at another path, and `aspects` may have changed as well. A removed or
   * added directory stands for everything in it only with `removed`; what an added one contains is told as well.
   */
  readonly kind: 'added' | 'removed' | 'renamed' | 'changed' | 'same'
  /** The path of the object; that of the base if it was removed. */
  readonly path: readonly Name[]
  /** The path at which the base would have it if nothing but directories had been moved. */
  readonly was: readonly Name[]
  /** The path in the base, for `renamed`. */
  readonly from?: readonly Name[]
  readonly aspects: readonly Aspect[]
  readonly type: FileType
  /** Whether it is a directory that has taken the place of one of the base, and hides everything in it. */
  readonly replaced?: true
  /** The object in the overlay, unless it was removed. */
  readonly after?: Inode
  /** The object in the base, unless it was added. */
  readonly before?: Inode
}
