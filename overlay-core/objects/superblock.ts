import type { Clock } from '../api/clock.ts'
import type { MountOptions } from '../api/params.ts'
import type { RwLock } from '../base/lock.ts'
import type { RemountBarrier } from '../base/remount-barrier.ts'
import type { Layer, Real } from '../layer/layer.ts'
import type { UpperContext } from '../layer/upper-context.ts'
import type { ProtocolDataStore } from '../sidecar/protocol-data-store.ts'
import type { Charges } from './charges.ts'
import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import type { Durability } from './durability.ts'
import type { FileCache } from './file-cache.ts'
import type { HandleTable } from './handle.ts'
import type { ListingCache } from './listing.ts'
import type { NamelessObjects } from './nameless.ts'

/** The state of one mounted overlay, shared by the modules of the core (like `struct ovl_fs`). */
export interface SuperBlock extends UpperContext {
  /** With `upper`, `lowers` and `indexDir`, a freeze replaces it, while the barrier is closed. */
  work: Real | undefined
  /** Part of the stack, with `stackVersion`, `readOnly`, `lowers`, `dataLayers` and `indexDir`: only `remount` changes it, while the barrier is closed. */
  options: MountOptions
  /** Counts the stacks. An inode with another `stackVersion` must be looked up again. */
  stackVersion: number
  /** Whether there is no upper, or it must not be written. */
  readOnly: boolean
  readonly barrier: RemountBarrier
  readonly clock: Clock
  /** The time of day, in ms since the epoch. */
  readonly wallClockMs: () => number
  uuid: Uint8Array
  /** The seed of the cookies in listings, the same for all overlays that share listings. `remount` changes it if it begins to share them. */
  cookieSeed: Uint8Array
  upper: Layer | undefined
  /** Searched lowers, topmost first. */
  lowers: readonly Layer[]
  dataLayers: readonly Layer[]
  /** The directory `index` in the workdir; undefined with index=off. */
  indexDir: Real | undefined
  /** Protocol data that is too large for an attribute. Undefined without an upper. */
  readonly protocolData: ProtocolDataStore | undefined
  /** Sentences about the limits of the storage of the upper (`noticesOf`) and of the lowers (`decideTrust`). */
  notices: readonly string[]
  readonly storageNotices: readonly string[]
  readonly root: OvlInode
  readonly dcache: DentryCache
  readonly files: FileCache
  readonly durability: Durability
  /** Counts what changes of the upper use of the quota; undefined without a quota. */
  readonly charges: Charges | undefined
  readonly listings: ListingCache
  readonly handles: HandleTable
  readonly nameless: NamelessObjects
  readonly renameLock: RwLock
  /** Running copy-ups. */
  readonly copies: Set<Promise<void>>
  /** Whether the server may give objects to other owners (it runs as root). */
  readonly privileged: boolean
  /** Whether owners that the server may not set on disk are stored in an attribute (`OVERRIDE_STAT`), and such attributes are respected. */
  readonly keepsOwners: boolean
  /** Whether the upper's file system stores neither owner nor mode, so that all new objects get that attribute. */
  readonly fixedOwners: boolean
  readonly serverUid: number
  readonly serverGid: number
  readonly serverGroups: readonly number[]
}
