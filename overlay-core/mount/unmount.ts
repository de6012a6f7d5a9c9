import { isUnwritable } from '../api/errno.ts'
import type { Stack } from '../api/overlay-api.ts'
import type { MountOptions } from '../api/params.ts'
import type { FreshUpper } from '../api/types.ts'
import { syncUpper } from '../objects/durability.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { closesDone } from '../sys/open.ts'
import type { Merge } from './squash.ts'

/** The resources of a mount besides the superblock: layer roots and claims. */
export interface Mounting {
  /** Gives the overlay other layers or options; with a stack, it shares the lowers. @throws OptionError */
  remount(options: MountOptions, stack: Stack | undefined): Promise<void>
  /** Makes the upper the topmost lower. @see Overlay.freeze */
  freeze(directory: string, options: MountOptions, prepared: boolean | FreshUpper): Promise<void>
  /** Merges frozen layers. @see Overlay.squash */
  squash(layers: readonly string[], isMounted: () => boolean): Merge
  /** Puts a merge in the place of the frozen layers. @see Squash.adopt */
  adopt(merge: Merge, from: string, to: string, options: MountOptions, stack: Stack | undefined): Promise<void>
  /** Ends work in the background. */
  settle(): Promise<void>
  /** Closes the layer roots and releases the claims. */
  close(): void
}

/**
 * Makes all changes durable. If the disk accepts no writes, the places of handles are not saved, and clients may get ESTALE for them after a restart.
 *
 * @throws EIO
 */
export async function flush(sb: SuperBlock): Promise<void> {
  try {
    await unlessUnwritable(sb.handles.sync())
  } finally {
    // The data of clients must be synced even if the places of handles could not be written.
    if (sb.upper && !sb.options.volatile) await syncUpper(sb)
  }
}

async function unlessUnwritable(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!isUnwritable(error)) throw error
  }
}

/**
 * Ends an overlay that accepts no more calls: waits for running calls, makes all changes durable, and releases its resources, even if the last
 * changes could not be written, because otherwise nobody else could take over the upper. Without `sync`, nothing is made durable.
 *
 * @throws EIO the last changes may not be durable
 */
export async function letGo(sb: SuperBlock, mounting: Mounting, sync: boolean): Promise<void> {
  const { handles, descriptors, dcache, files, listings } = sb
  await mounting.settle()
  await descriptors.idle()
  files.closeAll()
  await sb.writeback.close()
  try {
    if (sync) await flush(sb)
  } finally {
    try {
      await unlessUnwritable(handles.close(sync))
    } finally {
      descriptors.closeAll()
      dcache.clear()
      listings.clear()
      mounting.close()
      await closesDone()
    }
  }
}
