import type { Attr, Cred, Name } from '../api/types.ts'
import { lookupCurrent, revalidateInode } from '../lookup/revalidate-inode.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr, withPlace } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { restore } from './restore.ts'

/** @see Overlay.dropCopy. To be called while no call is running. */
export async function dropCopy(sb: SuperBlock, cred: Cred, dir: OvlInode, name: Name, seen: Attr): Promise<boolean> {
  await revalidateInode(sb, dir)
  const inode = await lookupCurrent(sb, dir, name)
  if (!inode?.upper || inode.indexName !== undefined || inode.unlinked || isOpen(inode)) return false
  const { type, nlink, ctime } = await getattr(sb, inode)
  if (type !== seen.type || nlink !== 1 || ctime.sec !== seen.ctime.sec || ctime.nsec !== seen.ctime.nsec) return false
  if (await hasProtocolData(sb, inode)) return false
  await restore(sb, cred, dir, name)
  return true
}

/** Whether somebody reads or writes it through an open file, which would go on with the file that is dropped. */
function isOpen({ file, lowerHandles }: OvlInode): boolean {
  return (file !== undefined && file.users > 0) || (lowerHandles !== undefined && lowerHandles.size > 0)
}

async function hasProtocolData(sb: SuperBlock, inode: OvlInode): Promise<boolean> {
  return await withPlace(sb, inode, async (fd, at) => {
    const names = await sb.xattrStore.list(fd, at)
    return names.some((name) => sb.overlayXattrs.slotOf(name) !== undefined)
  })
}
