import { after } from '../api/maybe-promise.ts'
import type { CreateOptions, MaybePromise, Name } from '../api/types.ts'
import type { NewObjectSpec } from '../copy-up/owner.ts'
import { asksForAttributes, type Real } from '../layer/layer.ts'
import { PLAIN } from '../layer/object-rights.ts'
import { storageOf } from '../layer/upper-context.ts'
import { rememberUpper } from '../lookup/namei.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { newDirectory } from '../sys/new-directory.ts'
import { statxFd } from '../sys/stat.ts'
import { isPlain, SETGID } from './new-file.ts'

/** The mode bits that mkdir(2) sets. */
const MKDIR_MODE = 0o1777

/**
 * Creates an empty directory in the upper directory in one trip: with its final owner and mode in the work directory, from where it is moved. Only in
 * a directory without lowers, so that it hides nothing and need not be opaque.
 *
 * Finds out whether the name is free. Undefined if it is not, or has a whiteout, or if the directory needs more: ACLs, times, a record or other mode bits.
 *
 * @throws ENOSPC | EDQUOT | EIO …
 */
export function makeDirectory(
  sb: SuperBlock,
  dir: OvlInode,
  name: Name,
  birth: NewObjectSpec,
  options: CreateOptions,
): MaybePromise<OvlInode | undefined> {
  const upper = dir.upper as Real
  if ((birth.mode & ~MKDIR_MODE) !== 0 || dir.lowers.length > 0 || !isPlain(sb, dir, birth, options)) return undefined
  if (storageOf(sb).noReplace === 0 || asksForAttributes(upper.layer)) return undefined
  const temp = sb.tempName()
  return after(sb.descriptors.of(sb.work as Real), (workFd) => {
    // The new directory would inherit the bit.
    if ((statxFd(workFd).mode & SETGID) !== 0) return undefined
    return after(sb.descriptors.of(upper), (dirFd) =>
      after(newDirectory({ workFd, temp }, { dirFd, name }, birth), (made) => {
        if (made === undefined) return undefined
        const inode = rememberUpper(sb, dir, name, made, PLAIN)
        // Only the kernel's tools mark a directory for whiteouts in attribute form, and never a new one.
        ;(inode.upper as Real).xwhiteouts = false
        return inode
      }),
    )
  })
}
