import { isErrno } from '../api/errno.ts'
import { FileType, type Time } from '../api/types.ts'
import type { Real } from '../layer/layer.ts'
import { ctimeFingerprint, nsOf } from '../objects/ctime-fingerprint.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { LowerReal, noteChange, versionOf } from '../stack/lower-real.ts'
import { type Stat, statxFd, statxFdAsking } from '../sys/stat.ts'
import { forgetNames } from './iget.ts'
import { readMarks } from './marks.ts'

/**
 * Implements the option `revalidate`: lowers may change while they are mounted, so cached data of them is compared with them periodically. A directory
 * counts as unchanged if the ctime of each of its lowers is; a file of a lower is simply read again. The upper needs no comparison, because only
 * this process changes it.
 */

/** Returns `inode` and its ancestors that are due for comparison with their lowers, topmost first, and marks them as compared. */
export function dueChain(sb: SuperBlock, inode: OvlInode): OvlInode[] {
  const { revalidate } = sb.options
  const everyMs = typeof revalidate === 'number' ? revalidate * 1000 : 0
  const now = Math.floor(sb.clock.now())
  const chain: OvlInode[] = []
  for (let at: OvlInode | undefined = inode; at; at = at.alias?.dir) {
    // A comparison always includes all ancestors, so none of them is due from here on.
    if (everyMs > 0 && at.checkedAtMs > 0 && now - at.checkedAtMs < everyMs) break
    at.checkedAtMs = Math.max(1, now)
    chain.push(at)
  }
  return chain.reverse()
}

/** Whether the lowers of `inode` are known to be unchanged without waiting. For a file, drops the cached data that may have changed. */
export function isUnchanged(sb: SuperBlock, inode: OvlInode): boolean {
  if (inode.unlinked) return false
  if (inode.type !== FileType.directory) {
    lookAgain(sb, inode)
    return true
  }
  if (versionOf(inode.lowers) !== inode.seenVersion) return false
  for (const real of inode.lowers) {
    if (real.fd < 0 || !real.layer.local) return false
    if (real.ctimeNs !== nsOf(statxFd(real.fd).ctime)) return false
  }
  return true
}

/** Makes the next request for the attributes of a lower file read them again, by its name if the file was removed. */
function lookAgain(sb: SuperBlock, inode: OvlInode): void {
  if (inode.upper) return
  inode.changed()
  inode.rights = undefined
  inode.real.plain = false
  const { file } = inode
  if (file && statxFd(file.fd).nlink === 0) sb.files.drop(inode)
}

/**
 * Compares `inode` with its lowers. If a lower of a directory has changed, its names are forgotten and the directory itself must be looked up
 * again; then this returns true.
 */
export async function lookAtLowers(sb: SuperBlock, inode: OvlInode): Promise<boolean> {
  if (inode.type !== FileType.directory) {
    lookAgain(sb, inode)
    return false
  }
  const changed = await changedSince(sb, inode)
  if (changed === undefined) return false
  // Lookups and listings in progress have read the old state, so they must end before it is forgotten.
  await inode.dirLock.exclusive(() => {
    forgetNames(sb, inode)
    inode.seenVersion = versionOf(inode.lowers)
  })
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

/** Returns the new ctime if a lower of `dir` has changed, or `gone` if one is no longer there; records the present state. */
async function changedSince(sb: SuperBlock, dir: OvlInode): Promise<Time | 'gone' | undefined> {
  let changed: Time | 'gone' | undefined
  let latest: Time | undefined
  for (const real of dir.lowers) {
    const stat = await statOf(sb, real)
    if (!stat) {
      changed ??= 'gone'
      continue
    }
    const { ctime } = stat
    if (latest === undefined || nsOf(ctime) > nsOf(latest)) latest = ctime
    if (real.ctimeNs !== 0 && real.ctimeNs !== nsOf(ctime)) {
      changed = ctime
      if (real instanceof LowerReal) noteChange(real)
    }
    // The fingerprint is taken before anything is read from the directory.
    real.ctimeNs = ctimeFingerprint(sb, ctime)
  }
  // Another overlay of the stack may have noticed a change.
  return changed ?? (versionOf(dir.lowers) === dir.seenVersion ? undefined : latest)
}

/** Undefined if the directory is no longer at its path. */
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
