import { isErrno, OverlayError } from '../api/errno.ts'
import { type Attr, type Cred, FileType, type Name, type Wcc } from '../api/types.ts'
import { copyingUpFirst, copyUp, linkUpAlias, longCopyOf } from '../copy-up/copy-up.ts'
import { Real } from '../layer/layer.ts'
import { clearWorkDir } from '../layer/workdir.ts'
import { dropIndex, saveNlink } from '../lookup/hardlink.ts'
import { checkName, lookupLocked, lowerPositive } from '../lookup/namei.ts'
import { isEmptyLocked } from '../lookup/readdir.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr, getattrLocked } from '../objects/inode.ts'
import { EXECUTE, need, needEntryChange } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { renameAt, rmdirAt, unlinkAt } from '../sys/dir.ts'
import { enterLocked, leaveChanged, leaveLocked } from './dir.ts'

type Check = (victim: OvlInode) => void

/** @see Overlay.unlink */
export async function unlink(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  wcc?: Wcc,
  check?: Check,
): Promise<void> {
  checkName('unlink', name)
  await sb.descriptors.run(() =>
    copyingUpFirst(sb, (patient) =>
      dir.dirLock.changing(name, async (alone) => {
        const { timesKept } = dir
        const [victim, attr] = await victimLocked(sb, cred, dir, name, 'unlink', wcc)
        if (victim.type === FileType.directory) throw new OverlayError('EISDIR', 'unlink', name)
        check?.(victim)
        const long = patient || victim.indexName === undefined ? undefined : longCopyOf(sb, victim)
        if (long) return long
        await copyUp(sb, dir)
        await separateLink(sb, victim, dir, name)
        await victim.nodeLock.exclusive(() => unlinkLocked(sb, victim, dir, name))
        await leaveChanged(sb, dir, { attr, timesKept, alone }, wcc)
      }),
    ),
  )
}

async function unlinkLocked(sb: SuperBlock, victim: OvlInode, dir: OvlInode, name: Name): Promise<void> {
  const last = await prepareRemoval(sb, victim, dir, name)
  if (coversNothing(sb, victim, dir, name)) await unlinkAt(await sb.descriptors.of(dir.upper as Real), name)
  else await removeName(sb, dir, name, victim.type)
  forgetName(sb, victim, dir, name, last)
  if (last) await dropIndex(sb, victim)
}

/** @see Overlay.rmdir */
export async function rmdir(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  wcc?: Wcc,
  check?: Check,
): Promise<void> {
  checkName('rmdir', name)
  await sb.descriptors.run(() =>
    dir.dirLock.exclusive(async () => {
      const [victim, before] = await victimLocked(sb, cred, dir, name, 'rmdir', wcc)
      if (victim.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'rmdir', name)
      check?.(victim)
      await victim.dirLock.exclusive(async () => {
        if (!(await isEmptyLocked(sb, victim))) throw new OverlayError('ENOTEMPTY', 'rmdir', name)
        await copyUp(sb, dir)
        await victim.nodeLock.exclusive(async () => {
          await removeName(sb, dir, name, victim.type)
          forgetName(sb, victim, dir, name, true)
        })
      })
      await leaveLocked(sb, dir, before, wcc)
    }),
  )
}

async function victimLocked(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  op: string,
  wcc: Wcc | undefined,
): Promise<[victim: OvlInode, dirAttr: Attr]> {
  const dirAttr = await enterLocked(sb, cred, dir, wcc)
  need(cred, dirAttr, EXECUTE, op)
  const { inode } = await lookupLocked(sb, dir, name)
  if (!inode) throw new OverlayError('ENOENT', op, name)
  if (sb.readOnly) throw new OverlayError('EROFS', op, name)
  needEntryChange(cred, dirAttr, await getattr(sb, inode), op)
  return [inode, dirAttr]
}

/** A lower hard link that is kept together by the index gets its upper name first, so that link counts stay right. */
export async function separateLink(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name): Promise<void> {
  if (inode.indexName === undefined) return
  await copyUp(sb, inode, 'metadata')
  await inode.nodeLock.exclusive(() => linkUpAlias(sb, inode, dir, name))
}

/**
 * Before the name `name` in `dir` of `inode`, whose lock is held, goes: writes its link count down; when it is the last one, open handles
 * take hold of the upper file, which no name will lead to; else the client's handle is to lead to another name from now on, as after a
 * crash nothing else would. Returns whether it is the last one.
 */
export async function prepareRemoval(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name): Promise<boolean> {
  if (inode.type === FileType.directory) return true
  const last = await isLastName(sb, inode)
  if (last) for (const handle of inode.lowerHandles ?? []) await handle.beforeLastName()
  const other = last ? undefined : inode.aliases.find((alias) => alias.dir !== dir || alias.name !== name)
  if (other) await sb.handles.moving(inode, other.dir, other.name)
  await saveNlink(sb, inode)
  return last
}

/** Whether `inode`, whose lock is held, has no name but the one that is about to go. */
async function isLastName(sb: SuperBlock, inode: OvlInode): Promise<boolean> {
  if (!inode.upper && inode.indexName === undefined) return true
  return (await getattrLocked(sb, inode)).nlink <= 1
}

/** Whether it is known that the upper object stands at this very name, and nothing below. */
function coversNothing(sb: SuperBlock, { upper }: OvlInode, dir: OvlInode, name: Name): boolean {
  if (sb.options.revalidate !== 'never') return false
  return upper?.coversNothingIn === sb.epoch && upper.parent === dir.upper && upper.name === name
}

/** Takes the name out of the upper directory, leaving a whiteout where a lower would show through. Locks are held by the caller. */
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

/** Removes an upper directory that shows nothing; whiteouts in it go along, by moving it to the work directory first. */
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
 * Updates what is known after `name` of `dir` ceased to name `inode`; `last` says that no other name is left: then the caller also calls
 * `dropIndex`. At once, so that nobody sees a replaced name absent: what stands there now is to be noted next. That the name is absent is not
 * remembered: of files that come and go, that would be all the cache is full of.
 */
export function forgetName(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name, last: boolean): void {
  inode.removeAlias(dir, name)
  if (last) sb.dcache.removeInode(inode)
  sb.dcache.remove(dir, name)
  sb.listings.remove(sb.uuid, dir, name)
  inode.changed()
  if (!last) {
    moveToOtherName(inode, dir, name)
    sb.handles.remember(inode)
    return
  }
  inode.unlinked = true
  if (inode.upper) sb.protocolData?.forget(inode.upper.ino)
  sb.listings.drop(inode)
  sb.handles.forget(inode)
  if (inode.type === FileType.directory) dropDescriptors(sb, inode)
}

/** The upper object of a hard link that was known by the removed name is known by another one from now on. */
function moveToOtherName(inode: OvlInode, dir: OvlInode, name: Name): void {
  const { upper } = inode
  if (!upper || upper.parent !== dir.upper || upper.name !== name) return
  const other = inode.aliases.find((alias) => alias.dir.upper !== undefined)
  if (!other) return
  inode.upper = new Real(upper.layer, other.dir.upper, other.name, upper.ino)
  inode.upper.redirect = upper.redirect
}

function dropDescriptors(sb: SuperBlock, inode: OvlInode): void {
  if (inode.upper) sb.descriptors.drop(inode.upper)
  for (const lower of inode.lowers) sb.descriptors.drop(lower)
}
