import type { Clock } from '../api/clock.ts'
import type { MountOptions } from '../api/params.ts'
import type { RwLock } from '../base/lock.ts'
import type { RemountBarrier } from '../base/remount-barrier.ts'
import type { Layer, Real } from '../layer/layer.ts'
import type { UpperContext } from '../layer/upper-context.ts'
import type { ProtocolDataStore } from '../sidecar/protocol-data-store.ts'
import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import type { Durability } from './durability.ts'
import type { FileCache } from './file-cache.ts'
import type { HandleTable } from './handle.ts'
import type { ListingCache } from './listing.ts'
import type { NamelessObjects } from './nameless.ts'

/** The state of one mounted overlay, shared by the modules of the core (as `struct ovl_fs`). */
export interface SuperBlock extends UpperContext {
  /** With `epoch`, `readOnly`, `lowers`, `dataLayers` and `indexDir` the stack of layers: changed by `remount` only, while the barrier is closed. */
  options: MountOptions
  /** Counts the stacks; an inode whose `epoch` is another one has to be looked up again. */
  stackVersion: number
  /** There is no upper, or it must not be written. */
  readOnly: boolean
  readonly barrier: RemountBarrier
  readonly clock: Clock
  /** The time of day, in ms since the epoch. */
  readonly wallClockMs: () => number
  uuid: Uint8Array
  readonly upper: Layer | undefined
  /** Searched lowers, topmost first. */
  lowers: readonly Layer[]
  dataLayers: readonly Layer[]
  /** The directory `index` in the workdir; undefined with index=off. */
  indexDir: Real | undefined
  /** Notes of protocols that are too large for an attribute. Undefined without upper. */
  readonly protocolData: ProtocolDataStore | undefined
  /** What the storage of the upper cannot do, in sentences (`noticesOf`), and that of the lowers (`decideTrust`). */
  notices: readonly string[]
  readonly storageNotices: readonly string[]
  readonly root: OvlInode
  readonly dcache: DentryCache
  readonly files: FileCache
  readonly durability: Durability
  readonly listings: ListingCache
  readonly handles: HandleTable
  readonly nameless: NamelessObjects
  readonly renameLock: RwLock
  /** Running copy-ups. */
  readonly copies: Set<Promise<void>>
  /** Whether the server may give objects to other owners (it runs as root). */
  readonly privileged: boolean
  /** Owners that the server may not set on disk are kept in an attribute (`OVERRIDE_STAT`), and those found in one count. */
  readonly keepsOwners: boolean
  /** The upper's file system keeps neither owner nor mode: those of all that is made in it are kept in that attribute. */
  readonly fixedOwners: boolean
  readonly serverUid: number
  readonly serverGid: number
  readonly serverGroups: readonly number[]
}
