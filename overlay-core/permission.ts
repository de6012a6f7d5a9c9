import { OverlayError } from './errno.ts'
import { type Attr, type AttrChange, type Cred, FileType } from './types.ts'

const SETUID = 0o4000
const SETGID = 0o2000
const STICKY = 0o1000

export const READ = 4
export const WRITE = 2
export const EXECUTE = 1

/** Whether the caller is in `gid`, as effective or supplementary group. */
export function inGroup(cred: Cred, gid: number): boolean {
  return cred.gid === gid || cred.groups.includes(gid)
}

/**
 * Whether the caller has all rights in `mask` (4 read, 2 write, 1 execute/search) by the permission bits. Root has them all,
 * but execute on a file only when some execute bit is set (generic_permission in fs/namei.c).
 */
export function may(cred: Cred, attr: Attr, mask: number): boolean {
  if (cred.uid === 0) {
    return (mask & EXECUTE) === 0 || attr.type === FileType.directory || (attr.mode & 0o111) !== 0
  }
  const shift = cred.uid === attr.uid ? 6 : inGroup(cred, attr.gid) ? 3 : 0
  return ((attr.mode >> shift) & mask) === mask
}

/** @throws EACCES the caller lacks a right of `mask` */
export function need(cred: Cred, attr: Attr, mask: number, op: string): void {
  if (!may(cred, attr, mask)) throw new OverlayError('EACCES', op)
}

/** The right to make or remove names in `dir`; for removal also the sticky rule (may_delete). @throws EACCES · EPERM */
export function needEntryChange(cred: Cred, dir: Attr, victim: Attr | undefined, op: string): void {
  need(cred, dir, WRITE | EXECUTE, op)
  if (!victim || (dir.mode & STICKY) === 0 || cred.uid === 0) return
  if (cred.uid !== victim.uid && cred.uid !== dir.uid) throw new OverlayError('EPERM', op)
}

/**
 * Owner, group and mode for a new object in `dir`: a setgid directory passes its group on, and itself to directories, which take neither
 * setuid nor setgid from `mode` (vfs_mkdir).
 */
export function newOwner(
  cred: Cred,
  dir: Attr,
  type: FileType,
  mode: number,
): { uid: number; gid: number; mode: number } {
  const inherits = (dir.mode & SETGID) !== 0
  const gid = inherits ? dir.gid : cred.gid
  let bits = mode
  if (type === FileType.directory) bits = (mode & 0o1777) | (inherits ? SETGID : 0)
  else if ((mode & SETGID) !== 0 && cred.uid !== 0 && !inGroup(cred, gid)) bits &= ~SETGID
  return { uid: cred.uid, gid, mode: bits }
}

/**
 * Checks an attribute change and completes it with what the kernel would drop along (setattr_prepare, notify_change): setuid and setgid at a
 * change of owner or size, setgid where the caller is not in the group.
 *
 * @throws EPERM not the owner, or an owner or group the caller may not give · EACCES no write permission for size or current times
 */
export function prepareChange(cred: Cred, now: Attr, change: AttrChange, writable: boolean): AttrChange {
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

function needTimes(cred: Cred, now: Attr, change: AttrChange, owner: boolean): void {
  const explicit =
    (change.atime !== undefined && change.atime !== 'now') || (change.mtime !== undefined && change.mtime !== 'now')
  if (explicit && !owner) throw new OverlayError('EPERM', 'utimes')
  const touch = change.atime === 'now' || change.mtime === 'now'
  if (touch && !owner && !may(cred, now, WRITE)) throw new OverlayError('EACCES', 'utimes')
}

/** The mode after setuid and setgid are dropped by a change of owner or size; undefined when it stays. */
function dropOnChange(cred: Cred, now: Attr, change: AttrChange): number | undefined {
  if (now.type === FileType.directory) return undefined
  const chowns = change.uid !== undefined || change.gid !== undefined
  if (!chowns && (change.size === undefined || cred.uid === 0)) return undefined
  const mode = withoutPrivilege(now.mode)
  return mode === now.mode ? undefined : mode
}

/** `mode` as write(2) leaves it for an ordinary user: no setuid, and no setgid where the group may execute. */
export function withoutPrivilege(mode: number): number {
  return mode & ~SETUID & ~((mode & 0o010) !== 0 ? SETGID : 0)
}
