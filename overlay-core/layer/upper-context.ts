import type { Descriptors } from './descriptors.ts'
import type { IntentLog } from './intent-log.ts'
import type { Real } from './layer.ts'
import type { XattrNames } from './overlay-xattrs.ts'
import type { Storage } from './storage.ts'
import type { Writeback } from './writeback.ts'
import type { XattrStore } from './xattr-store.ts'

/** What a change of the upper needs of the mounted overlay: where temporary objects are built, how marks are kept, what the storage can do. */
export interface UpperContext {
  readonly descriptors: Descriptors
  /** The overlay's attributes, of any layer. */
  readonly xattrStore: XattrStore
  readonly overlayXattrs: XattrNames
  /** The directory `work` in the workdir: only temporary objects. Undefined without upper. */
  readonly work: Real | undefined
  /** What the upper's file system can do; undefined without upper. */
  readonly storage: Storage | undefined
  /** Files that took the place of others, on their way to the disk. */
  readonly writeback: Writeback
  /** Set where the upper's whiteouts are files. */
  readonly intents: IntentLog | undefined
  /** A fresh name for a temporary object in `work`. */
  tempName(): string
}

/** What the upper's file system can do, for a caller that changes the upper. */
export function storageOf(context: Pick<UpperContext, 'storage'>): Storage {
  return context.storage as Storage
}
