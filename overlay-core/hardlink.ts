import type { OvlInode } from './dentry.ts'
import type { Found, Real } from './layer.ts'
import { encodeOrigin, indexNameOf } from './origin.ts'
import type { SuperBlock } from './superblock.ts'
import { unlinkAt } from './sys/dir.ts'
import { getXattr, setXattr } from './sys/xattr.ts'

/** What the index directory knows of a lower hard link. */
export interface IndexEntry {
  /** Its name there; undefined where the file system gives no handles to name it by. */
  readonly name: string | undefined
  /** The upper object, when the lower one was copied up already. */
  readonly entry: Found | undefined
  readonly nlinkDelta: number | undefined
}

/** Looks for the index entry of a lower file with several names (fs/overlayfs/namei.c ovl_lookup_index). */
export async function findIndex(sb: SuperBlock, lower: Real): Promise<IndexEntry> {
  const origin = await encodeOrigin(sb, lower)
  if (!origin) return { name: undefined, entry: undefined, nlinkDelta: undefined }
  const name = indexNameOf(origin)
  const probe = await sb.descriptors.probe(sb.indexDir as Real, name)
  if (!probe) return { name, entry: undefined, nlinkDelta: undefined }
  const entry = sb.descriptors.found(sb.indexDir as Real, name, probe)
  return { name, entry, nlinkDelta: await readNlinkDelta(sb, name, probe.stat.nlink) }
}

/**
 * How many links more than the upper object the overlay object has: `overlay.nlink` is `U` or `L` (relative to the upper's or the lower's
 * count) and a signed number (ovl_get_nlink).
 */
async function readNlinkDelta(sb: SuperBlock, name: string, upperNlink: number): Promise<number> {
  const value = await getXattr(await sb.descriptors.of(sb.indexDir as Real), name, sb.xattrs.nlink)
  const match = value && /^([UL])([+-]\d+)$/.exec(Buffer.from(value).toString('latin1'))
  if (!match) return -1
  // The index itself is one link of the upper; "L+0" is only found where a crash came before the first name was linked up.
  return match[1] === 'U' ? Number(match[2]) : Number(match[2]) + 1 - upperNlink
}

/** Writes the difference of the link counts down before an operation changes the upper's count (ovl_nlink_start). */
export async function saveNlink(sb: SuperBlock, inode: OvlInode): Promise<void> {
  if (inode.indexName === undefined || inode.nlinkDelta === undefined) return
  const sign = inode.nlinkDelta < 0 ? '' : '+'
  const value = Buffer.from(`U${sign}${inode.nlinkDelta}`)
  await setXattr(await sb.descriptors.of(sb.indexDir as Real), inode.indexName, sb.xattrs.nlink, value)
}

/** Removes the index entry of an object that has no name left (ovl_cleanup_index). */
export async function dropIndex(sb: SuperBlock, inode: OvlInode): Promise<void> {
  if (inode.indexName === undefined || inode.nlinkDelta === undefined) return
  await unlinkAt(await sb.descriptors.of(sb.indexDir as Real), inode.indexName)
}
