import { bestEffort, OverlayError } from '../api/errno.ts'
import { type Cred, FileType, type Name, type Provenance } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { copyingUpFirst, longCopyOf } from '../copy-up/copy-up.ts'
import { identityOf } from '../layer/identity.ts'
import type { Real } from '../layer/layer.ts'
import { isHidden, isObject, nameStateAt, WHITEOUT } from '../layer/whiteout-format.ts'
import { findIndex, isHardLink, saveNlinkDelta } from '../lookup/hardlink.ts'
import { hiddenLowers } from '../lookup/iget.ts'
import { checkName, lookupLocked, lowerPositive } from '../lookup/namei.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr, needAccess } from '../objects/inode.ts'
import { EXECUTE, need, needEntryChange, READ, WRITE } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { readdirFd, unlinkAt } from '../sys/dir.ts'
import { closeSync } from '../sys/open.ts'
import { enterLocked, leaveLocked, withNodesLocked } from './changing-name.ts'
import { removingName } from './remove.ts'

/** @see Overlay.provenance */
export async function provenance(sb: SuperBlock, cred: Cred, dir: OvlInode, name: Name): Promise<Provenance> {
  await needAccess(sb, cred, dir, EXECUTE, 'lookup')
  checkName('provenance', name)
  return await sb.descriptors.run(() =>
    dir.dirLock.shared(async () => {
      const { inode } = await lookupLocked(sb, dir, name)
      const below = dir.upper !== undefined && (await lowerPositive(sb, dir, name))
      if (!inode) return below ? 'removed' : 'absent'
      if (!inode.upper) return 'lower'
      return below ? 'changed' : 'upper'
    }),
  )
}

/** @see Overlay.removedNames */
export async function removedNames(sb: SuperBlock, cred: Cred, dir: OvlInode): Promise<Name[]> {
  await needAccess(sb, cred, dir, READ, 'readdir')
  return await sb.descriptors.run(() =>
    dir.dirLock.shared(async () => {
      const { upper } = dir
      if (!upper) return []
      const { marks } = upper.layer
      const removed: Name[] = []
      for (const { name: raw, type } of await readdirFd(await sb.descriptors.of(upper))) {
        if (loopBudget.spent) await loopBudget.rest()
        const name = marks.reserves(raw) ? marks.hiddenBy(raw) : raw
        const maybe =
          name !== raw || type === 0 || type === FileType.character || (upper.xwhiteouts && type === FileType.regular)
        if (name === undefined || !maybe) continue
        if ((await isHidden(sb, upper, name)) && (await lowerPositive(sb, dir, name))) removed.push(name)
      }
      return removed
    }),
  )
}

/** @see Overlay.restore */
export async function restore(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  check?: (current: OvlInode | undefined) => void,
): Promise<OvlInode> {
  checkName('restore', name)
  return await copyingUpFirst(sb, (patient) =>
    sb.descriptors.run(() =>
      dir.dirLock.exclusive(async () => {
        const before = await enterLocked(sb, cred, dir, undefined)
        need(cred, before, EXECUTE | WRITE, 'restore')
        if (!sb.upper) throw new OverlayError('EROFS', 'restore', name)
        const { inode } = await lookupLocked(sb, dir, name)
        check?.(inode)
        if (inode) needEntryChange(cred, before, await getattr(sb, inode), 'restore')
        const long = patient || inode?.indexName === undefined ? undefined : longCopyOf(sb, inode)
        if (long) return long
        await dropUpperLocked(sb, dir, name, inode)
        const restored = (await lookupLocked(sb, dir, name)).inode
        if (!restored) throw new OverlayError('ESTALE', 'restore', name)
        if (inode?.retained) sb.handles.retain(restored)
        sb.listings.insert(dir, name, restored)
        await leaveLocked(sb, dir, before, undefined)
        return restored
      }),
    ),
  )
}

/** Removes the upper's object at `name` in one system call, so that a lower becomes visible. The name is never seen as absent. */
async function dropUpperLocked(
  sb: SuperBlock,
  dir: OvlInode,
  name: Name,
  current: OvlInode | undefined,
): Promise<void> {
  const { upper } = dir
  if (!upper || !(await lowerPositive(sb, dir, name))) throw new OverlayError('ENODATA', 'restore', name)
  const standing = await nameStateAt(sb, upper, name)
  if (isObject(standing) && standing.fd >= 0) closeSync(standing.fd)
  if (standing === undefined) throw new OverlayError('ENODATA', 'restore', name)
  if (standing === WHITEOUT) {
    await regainingLink(sb, dir, name, undefined, async () => {
      await upper.layer.marks.uncover(sb, upper, name)
      forgetAbsence(sb, dir, name)
    })
    return
  }
  if (!current || current.type === FileType.directory) throw new OverlayError('EISDIR', 'restore', name)
  // All names of a hard link share one file, so showing the lower's content at one of them would break the link.
  if (current.indexName !== undefined) throw new OverlayError('EMLINK', 'restore', name)
  await regainingLink(sb, dir, name, current, () => dropObjectLocked(sb, dir, upper, name, current))
}

async function dropObjectLocked(
  sb: SuperBlock,
  dir: OvlInode,
  upper: Real,
  name: Name,
  current: OvlInode,
): Promise<void> {
  await removingName(sb, current, dir, name, async (forget) => {
    await unlinkAt(await sb.descriptors.of(upper), name)
    await sb.xattrStore.removed({ dir: upper, name })
    forget()
    forgetAbsence(sb, dir, name)
  })
}

/**
 * Runs `uncover`, which shows a name of a lower again, with the lock of `current`, the object that has the name now. If the lower's object is a hard link in
 * the index, it gets a link back. Its count is saved first, because with a count that is too low it would be removed while it still has names.
 */
async function regainingLink(
  sb: SuperBlock,
  dir: OvlInode,
  name: Name,
  current: OvlInode | undefined,
  uncover: () => Promise<void>,
): Promise<void> {
  const lower = sb.indexDir && (await hiddenLowers(sb, dir, name))[0]
  const linked = lower?.real.layer.joinsLinks === true && isHardLink(lower.stat)
  const inode = linked ? sb.dcache.inode(identityOf(lower.real.layer, lower.stat).key) : undefined
  await withNodesLocked(current, inode, async () => {
    const index = linked ? await findIndex(sb, lower) : undefined
    const nlinkDelta = inode?.nlinkDelta ?? index?.nlinkDelta
    if (index?.name === undefined || !index.entry || nlinkDelta === undefined) return await uncover()
    const { name: indexName } = index
    await saveNlinkDelta(sb, indexName, nlinkDelta + 1)
    try {
      await uncover()
    } catch (error) {
      await bestEffort(() => saveNlinkDelta(sb, indexName, nlinkDelta))
      throw error
    }
    if (inode?.nlinkDelta === undefined) return
    inode.nlinkDelta++
    inode.changed()
  })
}

/** Drops the cached state of the name, so that the next lookup waits for the lock of the directory. */
function forgetAbsence(sb: SuperBlock, dir: OvlInode, name: Name): void {
  sb.dcache.remove(dir, name)
  sb.listings.drop(dir)
}
