import type { OvlInode } from './dentry.ts'
import { isErrno, OverlayError } from './errno.ts'
import { lookupDentry } from './namei.ts'
import type { SuperBlock } from './superblock.ts'

/**
 * Makes `inode`, that a caller holds since some time, usable in the present stack of layers: undefined when it is so already, else a
 * promise for it. An object of an earlier stack is looked up again by its name: when the same object is found there, it is made of what the
 * present layers have of it (`inodeFor` in namei.ts), else it is gone and only what is open can still be used.
 *
 * @throws ESTALE it is not in this stack
 */
export function makeCurrent(sb: SuperBlock, inode: OvlInode): Promise<void> | undefined {
  return inode.epoch === sb.epoch || inode.unlinked ? undefined : findAgain(sb, inode)
}

async function findAgain(sb: SuperBlock, inode: OvlInode): Promise<void> {
  for (const { dir, name } of inode.aliases) {
    if (await standsAt(sb, inode, dir, name)) return
    // Another caller may have been faster, by another name.
    if (inode.epoch === sb.epoch) return
  }
  leaveStack(sb, inode)
  throw new OverlayError('ESTALE', 'lookup')
}

async function standsAt(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: string): Promise<boolean> {
  try {
    await makeCurrent(sb, dir)
    return (await lookupDentry(sb, dir, name)).inode === inode
  } catch (error) {
    if (isErrno(error, 'ESTALE', 'ENOENT', 'ENOTDIR')) return false
    throw error
  }
}

/** As when the last name goes: who has it open may go on reading, nobody finds it any more. */
function leaveStack(sb: SuperBlock, inode: OvlInode): void {
  inode.unlinked = true
  inode.aliases = []
  inode.changed()
  sb.dcache.removeInode(inode)
  if (inode.file?.users === 0) sb.files.drop(inode)
}
