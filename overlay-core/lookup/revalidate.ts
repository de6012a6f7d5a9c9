import { isErrno } from '../api/errno.ts'
import { FileType, type Time } from '../api/types.ts'
import type { Real } from '../layer/layer.ts'
import { ctimeFingerprint, nsOf } from '../objects/ctime-fingerprint.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { type Stat, statxFd, statxFdAsking } from '../sys/stat.ts'
import { forgetNames } from './iget.ts'
import { readMarks } from './marks.ts'

/**
 * The option `revalidate`: lowers may change underneath, and what is remembered of them is compared with them from time to time. A directory
 * counts as unchanged while the ctime of each of its lowers is; a file of a lower is simply looked at again. The upper never has to be: only
 * this process changes it.
 */

/** `inode` and the directories above it that are due to be compared with their lowers, from the top down; they count as compared from now on. */
export function dueChain(sb: SuperBlock, inode: OvlInode): OvlInode[] {
  const { revalidate } = sb.options
  const everyMs = typeof revalidate === 'number' ? revalidate * 1000 : 0
  const now = Math.floor(sb.clock.now())
  const chain: OvlInode[] = []
  for (let at: OvlInode | undefined = inode; at; at = at.alias?.dir) {
    // Whoever is compared is so with all above it: from here on nothing is due.
    if (everyMs > 0 && at.checkedAtMs > 0 && now - at.checkedAtMs < everyMs) break
    at.checkedAtMs = Math.max(1, now)
    chain.push(at)
  }
  return chain.reverse()
}

/** Whether it is known at once that the lowers of `inode` are as they were; of a file forgets what may have changed. */
export function isUnchanged(sb: SuperBlock, inode: OvlInode): boolean {
  if (inode.unlinked) return false
  if (inode.type !== FileType.directory) {
    lookAgain(sb, inode)
    return true
  }
  for (const real of inode.lowers) {
    if (real.fd < 0 || !real.layer.local) return false
    if (real.stampNs !== nsOf(statxFd(real.fd).ctime)) return false
  }
  return true
}

/** The next who asks for the attributes of a lower file reads them anew, by its name if it was removed. */
function lookAgain(sb: SuperBlock, inode: OvlInode): void {
  if (inode.upper) return
  inode.changed()
  inode.rights = undefined
  inode.real.plain = false
  const { file } = inode
  if (file && statxFd(file.fd).nlink === 0) sb.files.drop(inode)
}

/**
 * Compares `inode` with its lowers. When one of a directory has changed, the names in it are forgotten and it is itself to be looked up again:
 * returns true then.
 */
export async function lookAtLowers(sb: SuperBlock, inode: OvlInode): Promise<boolean> {
  if (inode.type !== FileType.directory) {
    lookAgain(sb, inode)
    return false
  }
  const changed = await changedSince(sb, inode)
  if (changed === undefined) return false
  // Look-ups and listings that are under way have read the old state: they end before it is forgotten.
  await inode.dirLock.exclusive(() => forgetNames(sb, inode))
  if (changed !== 'gone') inode.lowerChanged = changed
  if (!inode.upper) inode.rights = undefined
  for (const real of inode.lowers) real.plain = false
  inode.changed()
  if (inode === sb.root) {
    for (const real of inode.lowers) await readMarks(sb, real)
  } else {
    for (const { dir, name } of inode.aliases) sb.dcache.remove(dir, name)
    inode.recheck = true
  }
  return true
}

/** The ctime of a lower of `dir` that has changed, `gone` when one is not where it was; notes how they are now. */
async function changedSince(sb: SuperBlock, dir: OvlInode): Promise<Time | 'gone' | undefined> {
  let changed: Time | 'gone' | undefined
  for (const real of dir.lowers) {
    const stat = await statOf(sb, real)
    if (!stat) {
      changed ??= 'gone'
      continue
    }
    const { ctime } = stat
    if (real.stampNs !== 0 && real.stampNs !== nsOf(ctime)) changed = ctime
    // The stamp is older than whatever is read of the directory after it.
    real.stampNs = ctimeFingerprint(sb, ctime)
  }
  return changed
}

/** Undefined when the directory is not where it was any more. */
async function statOf(sb: SuperBlock, real: Real): Promise<Stat | undefined> {
  try {
    return await sb.descriptors.run(async () => {
      const fd = await sb.descriptors.of(real)
      return real.layer.local ? statxFd(fd) : await statxFdAsking(fd)
    })
  } catch (error) {
    if (isErrno(error, 'ESTALE', 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
