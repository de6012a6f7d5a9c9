import { FileType } from '../api/types.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'

/**
 * Runs `copy`, which copies `inode` up, and counts the new object. `forced`: also beyond the quota, because something is removed.
 *
 * @throws EDQUOT it would exceed the quota, and nothing was copied
 */
export async function chargingCopy(
  sb: SuperBlock,
  inode: OvlInode,
  forced: boolean,
  copy: () => Promise<void>,
): Promise<void> {
  const { charges } = sb
  if (charges === undefined) return await copy()
  const { quota } = charges
  const size = inode.type === FileType.regular ? (await getattr(sb, inode)).size : undefined
  // Its size is that in the upper, where it does not exist yet.
  const charge = size === undefined ? undefined : charges.begin(inode, () => 0)
  const more = charge ? Math.max(0, Math.min(size ?? 0, charge.keeps) - charge.size) : 0
  let counted = false
  try {
    if (forced) quota.add(more, 1)
    else quota.reserve(more, 1, 'copy-up')
    counted = true
    if (charge) charge.size += more
    await copy()
  } finally {
    if (counted && inode.upper === undefined) quota.add(0, -1)
    if (charge) await charges.endReading(inode, charge, false)
  }
}
