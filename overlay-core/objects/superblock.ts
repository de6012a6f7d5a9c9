import type { Clock } from '../api/clock.ts'
import type { MountOptions } from '../api/params.ts'
import type { RwLock } from '../base/lock.ts'
import type { RemountBarrier } from '../base/remount-barrier.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import type { IntentLog } from '../layer/intent-log.ts'
import type { Layer, Real } from '../layer/layer.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import type { Storage } from '../layer/storage.ts'
import type { Writeback } from '../layer/writeback.ts'
import type { XattrStore } from '../layer/xattr-store.ts'
import type { ListingCache } from '../lookup/readdir.ts'
import type { ProtocolDataStore } from '../sidecar/protocol-data-store.ts'
import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import type { Durability } from './durability.ts'
import type { FileCache } from './file-cache.ts'
import type { HandleTable } from './handle.ts'

/** The state of one mounted overlay, shared by the modules of the core (as `struct ovl_fs`). */
export interface SuperBlock {
  /** With `epoch`, `readOnly`, `lowers`, `dataLayers` and `indexDir` the stack of layers: changed by `remount` only, while the barrier is closed. */
  options: MountOptions
  /** Counts the stacks; an inode whose `epoch` is another one has to be looked up again. */
  epoch: number
  /** There is no upper, or it must not be written. */
  readOnly: boolean
  readonly barrier: RemountBarrier
  readonly clock: Clock
  /** The time of day, in ms of the epoch. */
  readonly wallClockMs: () => number
  readonly uuid: Uint8Array
  readonly upper: Layer | undefined
  /** Searched lowers, topmost first. */
  lowers: readonly Layer[]
  dataLayers: readonly Layer[]
  /** The directory `work` in the workdir: only temporary objects. Undefined without upper. */
  readonly work: Real | undefined
  /** The directory `index` in the workdir; undefined with index=off. */
  indexDir: Real | undefined
  /** Notes of protocols that are too large for an attribute. Undefined without upper. */
  readonly protocolData: ProtocolDataStore | undefined
  /** What the upper's file system can do; undefined without upper. */
  readonly storage: Storage | undefined
  /** What the storage of the upper cannot do, in sentences (`noticesOf`). */
  readonly notices: readonly string[]
  /** Set where the upper's whiteouts are files. */
  readonly intents: IntentLog | undefined
  readonly overlayXattrs: XattrNames
  /** Extended attributes by these names, of any layer. */
  readonly xattrStore: XattrStore
  readonly root: OvlInode
  readonly dcache: DentryCache
  readonly descriptors: Descriptors
  readonly files: FileCache
  readonly durability: Durability
  readonly listings: ListingCache
  readonly handles: HandleTable
  /** Files that took the place of others, on their way to the disk. */
  readonly writeback: Writeback
  readonly renameLock: RwLock
  /** Running copy-ups. */
  readonly copies: Set<Promise<void>>
  /** The server may give objects to other owners (it runs as root). */
  readonly privileged: boolean
  /** Owners that the server may not set on disk are kept in an attribute (`OVERRIDE_STAT`), and those found in one count. */
  readonly keepsOwners: boolean
  /** The upper's file system keeps neither owner nor mode: those of all that is made in it are kept in that attribute. */
  readonly fixedOwners: boolean
  readonly serverUid: number
  readonly serverGid: number
  readonly serverGroups: readonly number[]
  /** A fresh name for a temporary object in `work`. */
  tempName(): string
}

/** What the upper's file system can do, for a caller that changes the upper. */
export function storageOf(sb: SuperBlock): Storage {
  return sb.storage as Storage
}
