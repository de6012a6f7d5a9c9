import type { FileType } from '../api/types.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { NamelessRecord } from '../objects/nameless.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { indexOfUpper } from './hardlink.ts'
import { makeInode } from './iget.ts'
import { readFileMarks } from './marks.ts'

/**
 * Returns the inode of an upper object that was recorded without a name, after it was dropped from the caches or after a restart. Undefined if the
 * object no longer exists, or is now known as another inode.
 */
export async function namelessInode(
  sb: SuperBlock,
  identity: { readonly key: number; readonly generation: number },
  record: NamelessRecord,
): Promise<OvlInode | undefined> {
  const { upper } = sb
  if (!upper || sb.xattrStore.byName) return undefined
  return await sb.descriptors.run(async () => {
    const found = await sb.descriptors.foundByHandle(upper, record.kernelHandle)
    if (!found) return undefined
    const marks = await readFileMarks(sb, await sb.descriptors.of(found.real), found)
    // Its data could only be found by a name.
    if (marks.metacopy) return undefined
    const { lowerNlink, fileIdHi, fileIdLo } = record
    const index = sb.indexDir && marks.origin ? await indexOfUpper(sb, found, marks.origin, lowerNlink) : undefined
    const known = sb.dcache.inode(identity.key) ?? sb.dcache.inodeOfUpper(found.stat.ino)
    if (known) return known.upper?.ino === found.stat.ino ? known : undefined
    const hasOrigin = (marks.origin ?? marks.identity) !== undefined
    const made = { top: found, lowers: [], data: undefined, hasOrigin, index, lowerNlink }
    const whole = { ...identity, fileIdHi, fileIdLo, type: record.type as FileType }
    const inode = makeInode(sb, whole, { ...made, upper: index?.entry?.real ?? found.real })
    sb.dcache.letGo(inode)
    return inode
  })
}
