import { bestEffort, isErrno } from './errno.ts'
import type { Probe, Real } from './layer.ts'
import type { SuperBlock } from './superblock.ts'
import { mknodAt, renameAt, rmdirAt, unlinkAt } from './sys/dir.ts'
import { RENAME_EXCHANGE, RENAME_WHITEOUT, S_IFCHR } from './sys/flags.ts'
import type { Stat } from './sys/stat.ts'
import { getXattr } from './sys/xattr.ts'
import { FileType, type Name } from './types.ts'

/** Whether `stat` is that of a whiteout in the classic form: a character device 0:0. */
export function isWhiteoutDevice(stat: Stat): boolean {
  return stat.type === FileType.character && stat.rdevMajor === 0 && stat.rdevMinor === 0
}

/**
 * Whether what `probe` found at `name` in `dir` is a whiteout: a device 0:0, or in a directory that says so, an empty regular
 * file with the whiteout attribute.
 */
export async function isWhiteout(sb: SuperBlock, dir: Real, name: Name, probe: Probe): Promise<boolean> {
  if (isWhiteoutDevice(probe.stat)) return true
  if (!dir.xwhiteouts || probe.stat.type !== FileType.regular || probe.stat.size !== 0) return false
  return (await getXattr(await sb.descriptors.of(dir), name, sb.xattrs.whiteout)) !== undefined
}

/** Makes a whiteout in the work directory and returns its name there. */
export async function makeWhiteout(sb: SuperBlock): Promise<Name> {
  const name = sb.tempName()
  await mknodAt(await sb.descriptors.of(sb.work as Real), name, S_IFCHR, 0, 0)
  return name
}

/**
 * Puts a whiteout at `name` of the upper directory `dir`, in one atomic step, where `present` (a non-directory, a directory or nothing)
 * stood. A replaced object is gone afterwards; a replaced directory waits in the work directory under the returned name.
 */
export async function whiteoutName(
  sb: SuperBlock,
  dir: Real,
  name: Name,
  present: FileType | undefined,
): Promise<Name | undefined> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  const dirFd = await sb.descriptors.of(dir)
  const whiteout = await makeWhiteout(sb)
  try {
    if (present !== FileType.directory) {
      await renameAt(workFd, whiteout, dirFd, name)
      return undefined
    }
    await renameAt(workFd, whiteout, dirFd, name, RENAME_EXCHANGE)
    return whiteout
  } catch (error) {
    await removeTemp(sb, whiteout)
    throw error
  }
}

/** Renames within the upper and leaves a whiteout at the old name, atomically where the file system can. */
export async function renameLeavingWhiteout(
  sb: SuperBlock,
  from: Real,
  fromName: Name,
  to: Real,
  toName: Name,
): Promise<void> {
  const fromFd = await sb.descriptors.of(from)
  const toFd = await sb.descriptors.of(to)
  try {
    await renameAt(fromFd, fromName, toFd, toName, RENAME_WHITEOUT)
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EPERM', 'ENOSYS')) throw error
    await exchangeForWhiteout(sb, from, fromName, to, toName)
  }
}

/**
 * The same where there is no RENAME_WHITEOUT: in two steps, of which only the second is seen when nothing is replaced. A target that is
 * replaced changes places with the source first, so that a crash in between loses neither.
 */
async function exchangeForWhiteout(sb: SuperBlock, from: Real, fromName: Name, to: Real, toName: Name): Promise<void> {
  const fromFd = await sb.descriptors.of(from)
  const toFd = await sb.descriptors.of(to)
  const target = await sb.descriptors.probe(to, toName)
  if (target && target.fd >= 0) sb.descriptors.retire(target.fd)
  if (!target) await whiteoutName(sb, to, toName, undefined)
  try {
    await renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE)
  } catch (error) {
    if (!target) await bestEffort(() => unlinkAt(toFd, toName))
    throw error
  }
  if (!target || isWhiteoutDevice(target.stat)) return
  try {
    const replaced = await whiteoutName(sb, from, fromName, target.stat.type)
    if (replaced !== undefined) await removeTempDir(sb, replaced)
  } catch (error) {
    await bestEffort(() => renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE))
    throw error
  }
}

/** Removes a temporary non-directory from the work directory; a leftover is cleaned at the next mount. */
export async function removeTemp(sb: SuperBlock, name: Name): Promise<void> {
  await bestEffort(async () => unlinkAt(await sb.descriptors.of(sb.work as Real), name))
}

/** Removes a temporary empty directory from the work directory; a leftover is cleaned at the next mount. */
export async function removeTempDir(sb: SuperBlock, name: Name): Promise<void> {
  await bestEffort(async () => rmdirAt(await sb.descriptors.of(sb.work as Real), name))
}
