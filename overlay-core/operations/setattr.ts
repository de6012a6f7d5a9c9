import { isErrno, OverlayError } from '../api/errno.ts'
import { type Attr, type AttrChange, type ChangeInfo, type Cred, FileType } from '../api/types.ts'
import { copyUp } from '../copy-up/copy-up.ts'
import { changeOwner } from '../copy-up/owner.ts'
import { type CheckedAttr, ownAttr } from '../layer/object-attr.ts'
import { setTimes } from '../layer/storage.ts'
import { resizing } from '../objects/charges.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { RealFile } from '../objects/file-cache.ts'
import { attrFor, attrForLocked, getattrLocked, needChangeable, placeOf } from '../objects/inode.ts'
import { prepareChange } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { confirmSize, truncateFd } from '../sys/attr.ts'
import { statxFd } from '../sys/stat.ts'

interface SetattrOptions {
  readonly changeInfo?: ChangeInfo | undefined
  readonly guard?: ((now: Attr) => void) | undefined
  readonly byHandle?: boolean
  /** Reserves the new size. @throws EDQUOT */
  readonly reserve?: () => void
}

/**
 * Changes attributes of the upper object under the object's lock. `byHandle`: the caller has the file open for writing, so its size may
 * be changed whatever the mode says now.
 */
export async function setattr(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  change: AttrChange,
  options: SetattrOptions = {},
): Promise<Attr> {
  const { size } = change
  if (sb.charges === undefined || size === undefined) return await changeAttributes(sb, cred, inode, change, options)
  return await resizing(sb.charges, inode, size, (reserve) =>
    changeAttributes(sb, cred, inode, change, { ...options, reserve }),
  )
}

async function changeAttributes(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  change: AttrChange,
  options: SetattrOptions,
): Promise<Attr> {
  if (sb.readOnly) throw new OverlayError('EROFS', 'setattr')
  if (change.size !== undefined) checkSize(inode, change.size)
  const first = await attrFor(sb, cred, inode)
  needChangeable(inode, 'setattr')
  options.guard?.(first)
  const owner = cred.uid === first.uid
  prepareChange(cred, first, change, options.byHandle === true || owner)
  if (Object.values(change).every((value) => value === undefined)) {
    // A change of nothing needs no copy-up.
    if (options.changeInfo) Object.assign(options.changeInfo, { before: first, after: first })
    return first
  }
  options.reserve?.()
  const { changes } = inode
  const copying = inode.unlinked ? undefined : copyUp(sb, inode, change.size === undefined ? 'metadata' : 'data')
  await copying
  const file = change.size === undefined ? undefined : await sb.files.acquire(inode, true)
  try {
    return await inode.nodeLock.exclusive(async () => {
      // The caller must not see a copy-up as a change, although it gives the object a new ctime.
      const onlyCopied = copying !== undefined && inode.changes === changes + 1
      const now = onlyCopied ? first : await attrForLocked(sb, cred, inode)
      if (options.changeInfo && inode.writing === 0) options.changeInfo.before = now
      if (!onlyCopied) options.guard?.(now)
      const full = prepareChange(cred, now, change, options.byHandle === true || owner)
      try {
        await applyChange(sb, inode, now, full, file, options.byHandle === true)
      } finally {
        inode.changed()
      }
      const after = await attrAfter(sb, inode, now, full)
      if (options.changeInfo) options.changeInfo.after = after
      return after
    })
  } finally {
    if (file) sb.files.release(file)
  }
}

/** The attributes after a successful change; if they cannot be read, they are computed from the ones before. */
async function attrAfter(sb: SuperBlock, inode: OvlInode, before: Attr, change: AttrChange): Promise<Attr> {
  try {
    return await getattrLocked(sb, inode)
  } catch (error) {
    if (!isErrno(error)) throw error
  }
  const { atime, mtime, ...plain } = change
  return {
    ...ownAttr(before as CheckedAttr),
    ...plain,
    atime: atime === undefined || atime === 'now' ? before.atime : atime,
    mtime: mtime === undefined || mtime === 'now' ? before.mtime : mtime,
  }
}

function checkSize(inode: OvlInode, size: number): void {
  if (inode.type === FileType.directory) throw new OverlayError('EISDIR', 'truncate')
  if (inode.type !== FileType.regular) throw new OverlayError('EINVAL', 'truncate')
  if (!Number.isSafeInteger(size) || size < 0) throw new OverlayError(size < 0 ? 'EINVAL' : 'EFBIG', 'truncate')
}

async function applyChange(
  sb: SuperBlock,
  inode: OvlInode,
  now: Attr,
  change: AttrChange,
  file: RealFile | undefined,
  byHandle: boolean,
): Promise<void> {
  const place = await placeOf(sb, inode)
  const cuts = file !== undefined && change.size !== undefined && (byHandle || statxFd(file.fd).size !== change.size)
  if (file && change.size !== undefined) {
    // With a handle like ftruncate(2), which always updates the times; otherwise like truncate(2).
    if (cuts) await truncateFd(file.fd, change.size)
    else await confirmSize(file.fd, change.size)
  }
  const { uid, gid, mode } = change
  if (uid !== undefined || gid !== undefined || mode !== undefined) await changeOwner(sb, inode, place, now, change)
  const { atime, mtime } = change
  if (atime === undefined && mtime === undefined) return
  // The call that set the new size has done that already, so no other change can come between.
  if (cuts && atime === undefined && mtime === 'now' && inode.upper?.layer.local) return
  await setTimes(sb, place, { ...(atime && { atime }), ...(mtime && { mtime }) }, now)
}
