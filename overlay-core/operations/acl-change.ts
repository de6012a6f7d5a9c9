import { OverlayError } from '../api/errno.ts'
import { type Cred, FileType } from '../api/types.ts'
import { copyUp } from '../copy-up/copy-up.ts'
import { changeOwner, diskMode } from '../copy-up/owner.ts'
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  type AclEntry,
  beyondMode,
  checkAcl,
  encodeAcl,
  modeOf,
  parseAcl,
  withMode,
} from '../layer/acl.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr, getattrLocked, needChangeable, placeOf } from '../objects/inode.ts'
import { inGroup } from '../objects/permission.ts'
import { loadRights, loadRightsLocked, setRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { removeXattr, setXattr } from '../sys/xattr.ts'

const SETGID = 0o2000
const SETS = 0o7000

/** Whether the attribute `name` holds an ACL. */
export function isAcl(name: string): boolean {
  return name === ACL_ACCESS || name === ACL_DEFAULT
}

/**
 * Sets an ACL from the value of its attribute, or removes it (`value` is undefined or has no entries). The access ACL changes the mode; setgid
 * is cleared if the caller is not in the group.
 *
 * @throws EPERM not the owner · EINVAL not an ACL · EACCES a default ACL on something other than a directory · EOPNOTSUPP a symlink,
 * or a file system without ACLs · ENODATA the lower has no ACL to remove
 * @see fs/posix_acl.c set_posix_acl, fs/overlayfs/inode.c ovl_set_acl
 */
export async function setAcl(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  name: string,
  value: Uint8Array | undefined,
): Promise<void> {
  if (sb.readOnly) throw new OverlayError('EROFS', 'setxattr')
  needChangeable(inode, 'setxattr')
  const entries = value ? parseAcl(value) : []
  if (inode.type === FileType.symlink) throw new OverlayError('EOPNOTSUPP', 'setxattr', name)
  if (name === ACL_DEFAULT && inode.type !== FileType.directory) {
    if (entries.length > 0) throw new OverlayError('EACCES', 'setxattr', name)
    return
  }
  const attr = await getattr(sb, inode)
  if (cred.uid !== 0 && cred.uid !== attr.uid) throw new OverlayError('EPERM', 'setxattr', name)
  if (entries.length > 0) checkAcl(entries)
  await sb.descriptors.run(async () => {
    const { acl, defaultAcl } = await loadRights(sb, inode)
    const present = name === ACL_ACCESS ? acl : defaultAcl
    // The kernel first clears setgid, which copies up; only without that does it check whether the lower has an ACL to remove.
    const changesMode = name === ACL_ACCESS && keptMode(cred, attr) !== attr.mode
    if (entries.length === 0 && !present && !inode.upper && !changesMode) {
      throw new OverlayError('ENODATA', 'removexattr', name)
    }
    if (!inode.unlinked) await copyUp(sb, inode, 'metadata')
    await inode.nodeLock.exclusive(async () => {
      try {
        if (name === ACL_ACCESS) await changeAccess(sb, cred, inode, entries)
        else await changeDefault(sb, inode, entries)
      } finally {
        inode.changed()
      }
    })
  })
}

/** The mode, without the setgid bit if the caller is not in the group. */
function keptMode(cred: Cred, { mode, gid }: { readonly mode: number; readonly gid: number }): number {
  const foreign = cred.uid !== 0 && !inGroup(cred, gid)
  return mode & (foreign ? ~SETGID : ~0)
}

async function changeAccess(sb: SuperBlock, cred: Cred, inode: OvlInode, entries: readonly AclEntry[]): Promise<void> {
  const now = await getattrLocked(sb, inode)
  const place = await placeOf(sb, inode)
  const kept = keptMode(cred, now)
  if (kept !== now.mode) await changeOwner(sb, inode, place, now, { mode: kept })
  const mode = entries.length > 0 ? (kept & SETS) | modeOf(entries) : kept
  const onDisk = sb.keepsOwners ? withMode(entries, diskMode(sb, inode.type, mode)) : entries
  await store(place, ACL_ACCESS, onDisk)
  setRights(inode, { ...(await loadRightsLocked(sb, inode)), acl: beyondMode(entries) })
  if (sb.keepsOwners) await changeOwner(sb, inode, place, now, { mode })
}

async function changeDefault(sb: SuperBlock, inode: OvlInode, entries: readonly AclEntry[]): Promise<void> {
  await store(await placeOf(sb, inode), ACL_DEFAULT, entries)
  const defaultAcl = entries.length > 0 ? encodeAcl(entries) : undefined
  setRights(inode, { ...(await loadRightsLocked(sb, inode)), defaultAcl })
}

async function store(place: { fd: number; name: string }, attr: string, entries: readonly AclEntry[]): Promise<void> {
  if (entries.length > 0) await setXattr(place.fd, place.name, attr, encodeAcl(entries))
  else await removeXattr(place.fd, place.name, attr)
}
