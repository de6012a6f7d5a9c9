import type { Descriptors } from './descriptors.ts'
import type { IntentLog } from './intent-log.ts'
import type { Real } from './layer.ts'
import type { XattrNames } from './overlay-xattrs.ts'
import type { Storage } from './storage.ts'
import type { Writeback } from './writeback.ts'
import type { XattrStore } from './xattr-store.ts'

/** The parts of the mounted overlay that changes of the upper need: the work directory, the store of marks, and the features of the storage. */
export interface UpperContext {
  readonly descriptors: Descriptors
  /** The overlay's attributes, of any layer. */
  readonly xattrStore: XattrStore
  readonly overlayXattrs: XattrNames
  /** The directory `work` in the workdir, which contains only temporary objects. Undefined without an upper. */
  readonly work: Real | undefined
  /** The features of the upper's file system; undefined without an upper. */
  readonly storage: Storage | undefined
  /** Files that replaced others and are being written out. */
  readonly writeback: Writeback
  /** Set if the upper's whiteouts are files. */
  readonly intents: IntentLog | undefined
  /** Returns a new name for a temporary object in `work`. */
  tempName(): string
}

/** The features of the upper's file system, for a caller that changes the upper. */
export function storageOf(context: Pick<UpperContext, 'storage'>): Storage {
  return context.storage as Storage
}
