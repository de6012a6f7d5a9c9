import { OverlayError } from '../api/errno.ts'
import { type Attr, type AttrChange, type Cred, FileType, type Ownership } from '../api/types.ts'
import type { AccessAcl } from '../layer/acl.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'

const SETUID = 0o4000
const SETGID = 0o2000
const STICKY = 0o1000
/** The mode bits that mkdir(2) uses. */
const DIRECTORY_BITS = 0o1777
const GROUP_BITS = 0o070

export const READ = 4
export const WRITE = 2
export const EXECUTE = 1

/** Whether the caller is in `gid`, as effective or supplementary group. */
export function inGroup(cred: Cred, gid: number): boolean {
  return cred.gid === gid || cred.groups.includes(gid)
}

/** Whether an ACL could matter to the caller: for owner and root only the mode counts, and also if the group has no rights. */
export function aclMatters(cred: Cred, attr: Attr): boolean {
  return cred.uid !== 0 && cred.uid !== attr.uid && (attr.mode & GROUP_BITS) !== 0 && attr.type !== FileType.symlink
}

/**
 * Whether the caller has all rights in `mask` (4 read, 2 write, 1 execute/search) according to permission bits and ACL. Root has them all,
 * except execute on a file without any execute bit.
 *
 * @see fs/namei.c generic_permission and acl_permission_check
 */
export function may(cred: Cred, attr: CheckedAttr, mask: number): boolean {
  const { mode } = attr
  if (cred.uid === 0) return (mask & EXECUTE) === 0 || (mode & 0o111) !== 0 || attr.type === FileType.directory
  if (cred.uid === attr.uid) return ((mode >> 6) & mask) === mask
  if (attr.acl !== undefined && (mode & GROUP_BITS) !== 0) return aclGrants(cred, attr, attr.acl, mask)
  const shift = inGroup(cred, attr.gid) ? 3 : 0
  return ((mode >> shift) & mask) === mask
}

/**
 * The answer of the ACL for a caller who is not the owner. A named user's entry decides; otherwise the first of the caller's groups that has all
 * rights in `mask`; the entry for others applies only to those in none of the groups. The ACL's mask limits all entries except others.
 *
 * @see fs/posix_acl.c posix_acl_permission
 */
function aclGrants(cred: Cred, attr: Attr, acl: AccessAcl, mask: number): boolean {
  const limit = (attr.mode >> 3) & mask
  for (const { id, perm } of acl.users) if (id === cred.uid) return (perm & limit) === mask
  let member = inGroup(cred, attr.gid)
  if (member && (acl.groupPerm & mask) === mask) return limit === mask
  for (const { id, perm } of acl.groups) {
    if (!inGroup(cred, id)) continue
    member = true
    if ((perm & mask) === mask) return limit === mask
  }
  return !member && (attr.mode & mask) === mask
}

/** @throws EACCES the caller lacks a right of `mask` */
export function need(cred: Cred, attr: CheckedAttr, mask: number, op: string): void {
  if (!may(cred, attr, mask)) throw new OverlayError('EACCES', op)
}

/** Checks the right to create or remove names in `dir`; for removal also the sticky rule (may_delete). @throws EACCES · EPERM */
export function needEntryChange(cred: Cred, dir: CheckedAttr, victim: Attr | undefined, op: string): void {
  need(cred, dir, WRITE | EXECUTE, op)
  if (!victim || (dir.mode & STICKY) === 0 || cred.uid === 0) return
  if (cred.uid !== victim.uid && cred.uid !== dir.uid) throw new OverlayError('EPERM', op)
}

/**
 * Owner, group and mode for a new object in `dir`. A setgid directory passes on its group, and to directories also setgid. An executable
 * does not get setgid for a group that the caller is not in.
 *
 * @see fs/inode.c inode_init_owner and mode_strip_sgid
 */
export function newOwner(cred: Cred, dir: Attr, type: FileType, mode: number): Ownership {
  const inherits = (dir.mode & SETGID) !== 0
  const gid = inherits ? dir.gid : cred.gid
  if (type === FileType.directory) {
    return { uid: cred.uid, gid, mode: (mode & DIRECTORY_BITS) | (inherits ? SETGID : 0) }
  }
  const strips = inherits && (mode & 0o010) !== 0 && cred.uid !== 0 && !inGroup(cred, gid)
  return { uid: cred.uid, gid, mode: strips ? mode & ~SETGID : mode }
}

/**
 * Checks an attribute change and adds what the kernel would clear with it (setattr_prepare, notify_change): setuid and setgid at a
 * change of owner or size, and setgid if the caller is not in the group.
 *
 * @throws EPERM not the owner, or an owner or group that the caller may not set · EACCES no write permission for size or current times
 */
export function prepareChange(cred: Cred, now: CheckedAttr, change: AttrChange, writable: boolean): AttrChange {
  const owner = cred.uid === 0 || cred.uid === now.uid
  const result: { -readonly [K in keyof AttrChange]: AttrChange[K] } = { ...change }
  if (change.uid !== undefined && change.uid !== now.uid && cred.uid !== 0) throw new OverlayError('EPERM', 'chown')
  if (change.uid !== undefined && !owner) throw new OverlayError('EPERM', 'chown')
  if (change.gid !== undefined && cred.uid !== 0) {
    if (!owner || (change.gid !== now.gid && !inGroup(cred, change.gid))) throw new OverlayError('EPERM', 'chown')
  }
  if (change.mode !== undefined && !owner) throw new OverlayError('EPERM', 'chmod')
  needTimes(cred, now, change, owner)
  if (change.size !== undefined && !writable && !may(cred, now, WRITE)) throw new OverlayError('EACCES', 'truncate')
  const gid = change.gid ?? now.gid
  if (change.mode !== undefined) {
    result.mode = change.mode & 0o7777
    if (cred.uid !== 0 && !inGroup(cred, gid)) result.mode &= ~SETGID
  }
  const dropped = dropOnChange(cred, now, change)
  if (dropped !== undefined && result.mode === undefined) result.mode = dropped
  return result
}

function needTimes(cred: Cred, now: CheckedAttr, change: AttrChange, owner: boolean): void {
  const explicit =
    (change.atime !== undefined && change.atime !== 'now') || (change.mtime !== undefined && change.mtime !== 'now')
  if (explicit && !owner) throw new OverlayError('EPERM', 'utimes')
  const touch = change.atime === 'now' || change.mtime === 'now'
  if (touch && !owner && !may(cred, now, WRITE)) throw new OverlayError('EACCES', 'utimes')
}

/** The mode after a change of owner or size has cleared setuid and setgid; undefined if it does not change. */
function dropOnChange(cred: Cred, now: Attr, change: AttrChange): number | undefined {
  if (now.type === FileType.directory) return undefined
  const chowns = change.uid !== undefined || change.gid !== undefined
  const mode = chowns ? withoutPrivilege(cred, now) : change.size !== undefined ? modeAfterWrite(cred, now) : now.mode
  return mode === now.mode ? undefined : mode
}

/**
 * The mode after a write or truncation by the caller: setuid and setgid may stay for root (setattr_should_drop_suidgid), unless it acts for
 * unknown other users.
 */
export function modeAfterWrite(cred: Cred, now: Attr): number {
  if (cred.dropsPrivilege === true) return now.mode & ~SETUID & ~SETGID
  return cred.uid === 0 ? now.mode : withoutPrivilege(cred, now)
}

/**
 * The mode after chown(2): setuid is cleared, and setgid is cleared if the group may execute or the caller is not in the group
 * (setattr_should_drop_sgid).
 */
function withoutPrivilege(cred: Cred, { mode, gid }: Attr): number {
  const foreign = cred.uid !== 0 && !inGroup(cred, gid)
  return mode & ~SETUID & ~((mode & 0o010) !== 0 || foreign ? SETGID : 0)
}
