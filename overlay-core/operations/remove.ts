import { isErrno, OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import { type ChangeInfo, type Cred, FileType, type MaybePromise, type Name } from '../api/types.ts'
import { copyForWriters, copyingUpFirst, copyUp, type LongCopy, linkUpAlias, longCopyOf } from '../copy-up/copy-up.ts'
import { Real } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import { clearWorkDir } from '../layer/workdir.ts'
import { diskXattrs } from '../layer/xattr-store.ts'
import { dropIndex, saveNlink } from '../lookup/hardlink.ts'
import { cachedDentry, checkName, lookupLocked, lowerPositive } from '../lookup/namei.ts'
import { isEmptyLocked } from '../lookup/readdir.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr, getattrLocked } from '../objects/inode.ts'
import { namelessReal, takePlace } from '../objects/nameless.ts'
import { EXECUTE, need, needEntryChange } from '../objects/permission.ts'
import { RemovalCharge } from '../objects/removal-charge.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { renameAt, rmdirAt, unlinkAt } from '../sys/dir.ts'
import { nameToHandle } from '../sys/handle.ts'
import { closeSync } from '../sys/open.ts'
import { changingName, enterLocked, leaveLocked } from './changing-name.ts'

type Check = (victim: OvlInode) => void

/** @see Overlay.unlink */
export function unlink(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  changeInfo?: ChangeInfo,
  check?: Check,
): MaybePromise<void> {
  checkName('unlink', name)
  return copyingUpFirst(sb, (patient) =>
    changingName(sb, cred, dir, name, changeInfo, (dirAttr) =>
      after(victimLocked(sb, cred, dir, dirAttr, name, 'unlink'), (victim) => {
        if (victim.type === FileType.directory) throw new OverlayError('EISDIR', 'unlink', name)
        check?.(victim)
        const long = patient ? undefined : longCopyOfVictim(sb, victim)
        if (long) return long
        if (victim.indexName === undefined && dir.upper) return unlinkAlone(sb, victim, dir, name)
        return unlinkLinked(sb, victim, dir, name)
      }),
    ),
  )
}

/** The copy-up that the removal of a name needs first. */
function longCopyOfVictim(sb: SuperBlock, victim: OvlInode): LongCopy | undefined {
  const linked = victim.indexName === undefined ? undefined : longCopyOf(sb, victim, 'removal')
  return linked ?? copyForWriters(victim)
}

async function unlinkLinked(sb: SuperBlock, victim: OvlInode, dir: OvlInode, name: Name): Promise<void> {
  await copyUp(sb, dir, 'removal')
  await separateLink(sb, victim, dir, name, 'removal')
  await unlinkAlone(sb, victim, dir, name)
}

function unlinkAlone(sb: SuperBlock, victim: OvlInode, dir: OvlInode, name: Name): MaybePromise<void> {
  return victim.nodeLock.exclusive(() =>
    sb.charges === undefined && isPlainFile(victim) && coversNothing(sb, victim, dir, name)
      ? removePlainFile(sb, victim, dir, name)
      : unlinkLocked(sb, victim, dir, name),
  )
}

/** Whether a file is known to have one name and no index entry, and nobody reads it in a lower. */
function isPlainFile({ indexName, lowerHandles, attr }: OvlInode): boolean {
  return indexName === undefined && lowerHandles === undefined && attr?.nlink === 1
}

/** Like `removingName` for such a file, which needs only the system call. */
function removePlainFile(sb: SuperBlock, victim: OvlInode, dir: OvlInode, name: Name): MaybePromise<void> {
  return after(sb.descriptors.of(dir.upper as Real), (dirFd) => {
    const removal = lastRemoval(sb, victim)
    return after(unlinkAt(dirFd, name), () => {
      forgetName(sb, victim, dir, name, removal)
      return freed(sb, victim)
    })
  })
}

async function unlinkLocked(sb: SuperBlock, victim: OvlInode, dir: OvlInode, name: Name): Promise<void> {
  await removingName(sb, victim, dir, name, async (forget) => {
    if (coversNothing(sb, victim, dir, name)) await unlinkAt(await sb.descriptors.of(dir.upper as Real), name)
    else await removeName(sb, dir, name, victim.type)
    forget()
  })
}

/** @see Overlay.rmdir */
export async function rmdir(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  changeInfo?: ChangeInfo,
  check?: Check,
): Promise<void> {
  checkName('rmdir', name)
  await sb.descriptors.run(() =>
    dir.dirLock.exclusive(async () => {
      const before = await enterLocked(sb, cred, dir, changeInfo)
      const victim = await victimLocked(sb, cred, dir, before, name, 'rmdir')
      if (victim.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'rmdir', name)
      check?.(victim)
      await victim.dirLock.exclusive(async () => {
        if (await removeAlone(sb, victim, dir, name)) return
        if (!(await isEmptyLocked(sb, victim))) throw new OverlayError('ENOTEMPTY', 'rmdir', name)
        await copyUp(sb, dir, 'removal')
        await victim.nodeLock.exclusive(async () => {
          const removal = lastRemoval(sb, victim)
          await removeName(sb, dir, name, victim.type)
          forgetName(sb, victim, dir, name, removal)
          if (victim.upper) sb.charges?.quota.add(0, -1)
        })
      })
      await leaveLocked(sb, dir, before, changeInfo)
    }),
  )
}

/**
 * Removes what is at `name`, a directory with everything in it, in one step and without looking into it. Only in an overlay that nobody else uses: what is open
 * in such a directory, and handles of it, are not taken care of. Does nothing if the name is absent.
 */
export async function removeWhole(sb: SuperBlock, dir: OvlInode, name: Name): Promise<void> {
  await sb.descriptors.run(() =>
    dir.dirLock.exclusive(async () => {
      const { inode } = await lookupLocked(sb, dir, name)
      if (!inode) return
      await copyUp(sb, dir, 'removal')
      await inode.nodeLock.exclusive(() =>
        removingName(sb, inode, dir, name, async (forget) => {
          await removeName(sb, dir, name, inode.type)
          forget()
        }),
      )
    }),
  )
}

/**
 * Removes an empty directory at whose name no lower can have anything, so that only the system call is needed. Returns false if it needs more: if it is merged or
 * contains anything.
 */
async function removeAlone(sb: SuperBlock, victim: OvlInode, dir: OvlInode, name: Name): Promise<boolean> {
  const { upper } = victim
  if (!upper || victim.lowers.length > 0 || dir.lowers.length > 0 || victim.stackVersion !== sb.stackVersion)
    return false
  if (upper.parent !== dir.upper || upper.name !== name || sb.xattrStore !== diskXattrs) return false
  return await victim.nodeLock.exclusive(async () => {
    const removal = lastRemoval(sb, victim)
    try {
      await rmdirAt(await sb.descriptors.of(dir.upper as Real), name)
    } catch (error) {
      if (isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR')) return false
      throw error
    }
    forgetName(sb, victim, dir, name, removal)
    sb.charges?.quota.add(0, -1)
    return true
  })
}

function victimLocked(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  dirAttr: CheckedAttr,
  name: Name,
  op: string,
): MaybePromise<OvlInode> {
  need(cred, dirAttr, EXECUTE, op)
  return after(cachedDentry(sb, dir, name) ?? lookupLocked(sb, dir, name), ({ inode }) => {
    if (!inode) throw new OverlayError('ENOENT', op, name)
    if (sb.readOnly) throw new OverlayError('EROFS', op, name)
    return after(getattr(sb, inode), (attr) => {
      needEntryChange(cred, dirAttr, attr, op)
      return inode
    })
  })
}

/** Creates the upper name of a lower hard link that the index joins, so that link counts stay correct. */
export async function separateLink(
  sb: SuperBlock,
  inode: OvlInode,
  dir: OvlInode,
  name: Name,
  why: 'metadata' | 'removal' = 'metadata',
): Promise<void> {
  if (inode.indexName === undefined) return
  await copyUp(sb, inode, why)
  await inode.nodeLock.exclusive(() => linkUpAlias(sb, inode, dir, name))
}

/** The effects of the removal of a name. */
interface Removal {
  /** Whether it is the last name. */
  readonly last: boolean
  /** The location of the upper object afterwards; undefined if it does not change. */
  readonly upper: Real | undefined
  /** Large protocol data that is removed with it. */
  readonly protocolData: readonly string[]
}

function lastRemoval(sb: SuperBlock, { upper }: OvlInode): Removal {
  return { last: true, upper: undefined, protocolData: (upper && sb.protocolData?.of(upper.ino)) ?? [] }
}

/**
 * Runs `work`, which removes `name` in `dir` from `inode`, whose lock is held, and calls `forget` when it is removed. `forget` is synchronous, so that
 * nobody sees a replaced name as absent; the new object must be recorded next. If it is the last name, open handles first open the
 * upper file, because no name will lead to it. Otherwise clients' handles lead to another name from then on, or to the object itself
 * if no other name is known, because after a crash nothing else would.
 *
 * @param newBytes the size of a new file that takes the name
 * @throws EDQUOT the new file exceeds the quota
 */
export async function removingName<T>(
  sb: SuperBlock,
  inode: OvlInode,
  dir: OvlInode,
  name: Name,
  work: (forget: () => void) => Promise<T>,
  newBytes?: number,
): Promise<T> {
  const removal = await prepareRemoval(sb, inode, dir, name)
  let charge: RemovalCharge | undefined
  let gone = false
  try {
    charge = sb.charges && (await RemovalCharge.begin(sb.charges, inode, removal.last, newBytes))
    const result = await work(() => {
      gone = true
      forgetName(sb, inode, dir, name, removal)
      charge?.removed()
    })
    if (removal.last) await dropIndex(sb, inode)
    if (removal.last) await freed(sb, inode)
    return result
  } finally {
    if (!gone && removal.upper) sb.descriptors.drop(removal.upper)
    if (!gone) await charge?.end()
  }
}

/** Closes the descriptors of a removed file that nobody uses. Resolves when its space is free: whoever removes something on a full disk uses the space next. */
function freed(sb: SuperBlock, inode: OvlInode): MaybePromise<void> {
  const writing = inode.upper && sb.writeback.leave(inode.upper.ino)
  const file = sb.files.leave(inode)
  if (writing && file) return Promise.all([writing, file]).then(() => undefined)
  return writing ?? file
}

async function prepareRemoval(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name): Promise<Removal> {
  if (inode.type === FileType.directory) return lastRemoval(sb, inode)
  const last = await isLastName(sb, inode)
  if (last) for (const handle of inode.lowerHandles ?? []) await handle.beforeLastName()
  const upper = last ? undefined : await otherPlace(sb, inode, dir, name)
  await saveNlink(sb, inode)
  return last ? lastRemoval(sb, inode) : { last, upper, protocolData: [] }
}

/** The place of the upper object of `inode` without this name, which is recorded for handles; undefined if its present place does not use this name. */
async function otherPlace(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name): Promise<Real | undefined> {
  const { upper } = inode
  const others = inode.aliases.filter((alias) => alias.dir !== dir || alias.name !== name)
  if (!upper || upper.parent !== dir.upper || upper.name !== name) {
    const [other] = others
    if (other) await sb.handles.moving(inode, other.dir, other.name)
    else if (upper) await noteNameless(sb, inode, upper)
    return undefined
  }
  for (const other of others) {
    const parent = other.dir.upper
    if (!parent || other.dir.unlinked) continue
    const real = new Real(upper.layer, parent, other.name, upper.ino)
    const fd = await sb.descriptors.openObject(real)
    if (fd < 0) continue
    closeSync(fd)
    await sb.handles.moving(inode, other.dir, other.name)
    return real
  }
  const real = await namelessReal(sb, inode)
  if (real.kernelHandle) await sb.handles.losingName(inode, real.kernelHandle)
  return real
}

/** Records for handles an object that is found in the index and not by a name. */
async function noteNameless(sb: SuperBlock, inode: OvlInode, upper: Real): Promise<void> {
  if (!sb.privileged || sb.xattrStore.byName) return
  const handle = upper.kernelHandle ?? (await nameToHandle(await sb.descriptors.proven(upper), ''))
  if (handle) await sb.handles.losingName(inode, handle)
}

/** Whether `inode`, whose lock is held, has no other name than the one to be removed. */
async function isLastName(sb: SuperBlock, inode: OvlInode): Promise<boolean> {
  if (!inode.upper && inode.indexName === undefined) return true
  return (await getattrLocked(sb, inode)).nlink <= 1
}

/** Whether the upper object is known to be at this very name, with nothing below it. */
function coversNothing(sb: SuperBlock, { upper }: OvlInode, dir: OvlInode, name: Name): boolean {
  if (sb.options.revalidate !== 'never') return false
  return upper?.coversNothingIn === sb.stackVersion && upper.parent === dir.upper && upper.name === name
}

/** Removes the name from the upper directory, leaving a whiteout if a lower would become visible. The caller holds the locks. */
async function removeName(sb: SuperBlock, dir: OvlInode, name: Name, type: FileType): Promise<void> {
  const upper = dir.upper as Real
  const probe = await sb.descriptors.probe(upper, name)
  if (probe && probe.fd >= 0) sb.descriptors.retire(probe.fd)
  const present = probe?.stat.type
  if (await lowerPositive(sb, dir, name)) {
    const removed = await upper.layer.marks.cover(sb, upper, name, present)
    if (removed !== undefined) await clearWorkDir(sb, removed)
  } else {
    if (present === undefined) return
    const dirFd = await sb.descriptors.of(upper)
    if (type === FileType.directory) await removeUpperDir(sb, dirFd, name)
    else await unlinkAt(dirFd, name)
  }
  await sb.xattrStore.removed({ dir: upper, name })
}

/** Removes an upper directory that looks empty, together with its whiteouts, by moving it to the work directory first. */
async function removeUpperDir(sb: SuperBlock, dirFd: number, name: Name): Promise<void> {
  try {
    return await rmdirAt(dirFd, name)
  } catch (error) {
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error
  }
  const temp = sb.tempName()
  await renameAt(dirFd, name, await sb.descriptors.of(sb.work as Real), temp)
  await clearWorkDir(sb, temp)
}

/**
 * Updates the cache after `name` of `dir` was removed from `inode`. The absence of the name is not cached, because files that come and go
 * would fill the whole cache.
 */
function forgetName(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name, removal: Removal): void {
  const { last, upper, protocolData } = removal
  inode.removeAlias(dir, name)
  if (last) sb.dcache.removeInode(inode)
  sb.dcache.remove(dir, name)
  sb.listings.remove(dir, name)
  inode.changed()
  if (!last) {
    if (upper) takePlace(sb, inode, upper)
    sb.handles.remember(inode)
    return
  }
  sb.nameless.release(inode)
  inode.unlinked = true
  if (inode.upper) sb.protocolData?.forget(inode.upper.ino, protocolData)
  sb.listings.drop(inode)
  sb.handles.forget(inode)
  if (inode.type === FileType.directory) dropDescriptors(sb, inode)
}

function dropDescriptors(sb: SuperBlock, inode: OvlInode): void {
  if (inode.upper) sb.descriptors.drop(inode.upper)
  for (const lower of inode.lowers) sb.descriptors.drop(lower)
}
