import { isErrno } from '../api/errno.ts'
import type { MountOptions } from '../api/params.ts'
import { syncUpper } from '../objects/durability.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { closesDone } from '../sys/open.ts'

/** What the mount keeps for itself: its layer roots and claims. */
export interface Mounting {
  /** Gives the overlay other layers or options. @throws OptionError */
  remount(options: MountOptions): Promise<void>
  /** Closes the layer roots and releases the claims. */
  close(): void
}

/**
 * Makes all changes durable. Where the disk takes nothing the places of handles are left, of which a client may be told ESTALE after a restart.
 *
 * @throws EIO
 */
export async function flush(sb: SuperBlock): Promise<void> {
  try {
    await unlessUnwritable(sb.handles.sync())
  } finally {
    // What clients have written must not be left because the places of handles could not be written.
    if (sb.upper && !sb.options.volatile) await syncUpper(sb)
  }
}

async function unlessUnwritable(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!isErrno(error, 'ENOSPC', 'EDQUOT', 'EROFS')) throw error
  }
}

/**
 * Ends an overlay that takes no more calls: waits for those that run, makes all changes durable, and gives up what it holds, also when its last words
 * could not be written, as nobody else could take the upper over.
 *
 * @throws EIO the last changes may not be durable
 */
export async function letGo(sb: SuperBlock, mounting: Mounting): Promise<void> {
  const { handles, descriptors, dcache, files } = sb
  await descriptors.idle()
  files.closeAll()
  await sb.writeback.close()
  try {
    await flush(sb)
  } finally {
    try {
      await unlessUnwritable(handles.close())
    } finally {
      descriptors.closeAll()
      dcache.clear()
      mounting.close()
      await closesDone()
    }
  }
}
