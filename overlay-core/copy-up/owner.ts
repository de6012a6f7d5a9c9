import { isErrno } from '../api/errno.ts'
import { type Attr, FileType, type Ownership } from '../api/types.ts'
import { ACL_ACCESS, ACL_DEFAULT, type AclEntry, beyondMode, encodeAcl, inheritAcl, parseAcl } from '../layer/acl.ts'
import { PLAIN, type Rights } from '../layer/object-rights.ts'
import {
  formatOverrideStat,
  isSpecial,
  type NodeOwnership,
  OVERRIDE_STAT,
  type OverrideStat,
  standsFor,
} from '../layer/override-stat.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { setRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { chmodAt, chownAt } from '../sys/attr.ts'
import { setXattr } from '../sys/xattr.ts'

const PERMISSIONS = 0o777
const STICKY = 0o1000
const NO_DEVICE = { major: 0, minor: 0 }

/** The initial rights of a new object: owner, mode, and the ACLs inherited from its directory. */
export interface NewObjectSpec extends NodeOwnership {
  /** Whether it is created as an empty file that represents it (`needsStub`). */
  readonly stub: boolean
  readonly access: readonly AclEntry[] | undefined
  readonly defaultAcl: Uint8Array | undefined
}

/** Applies the default ACL of the directory `dir` to a new object of `type`; without one, `owner` stays unchanged. */
export function inherit(
  sb: SuperBlock,
  dir: Rights,
  type: FileType,
  owner: Ownership,
  rdev: { readonly major: number; readonly minor: number } = NO_DEVICE,
): NewObjectSpec {
  const node = { ...owner, rdevMajor: rdev.major, rdevMinor: rdev.minor }
  if (dir.defaultAcl === undefined || type === FileType.symlink) {
    return { ...node, stub: needsStub(sb, type, node), access: undefined, defaultAcl: undefined }
  }
  const { mode, access } = inheritAcl(parseAcl(dir.defaultAcl), owner.mode)
  const defaultAcl = type === FileType.directory ? dir.defaultAcl : undefined
  return { ...node, mode, stub: needsStub(sb, type, { ...node, mode }), access, defaultAcl }
}

/**
 * Gives the new object `name` in the work directory its owner, mode and ACLs, and returns its rights. `present` is what the object has
 * already, if known, so that nothing is set twice.
 */
export async function applyOwnership(
  sb: SuperBlock,
  workFd: number,
  name: string,
  type: FileType,
  birth: NewObjectSpec,
  present?: Ownership,
): Promise<Rights> {
  await giveOwner(sb, workFd, name, birth, present)
  if (birth.access) await setXattr(workFd, name, ACL_ACCESS, encodeAcl(birth.access))
  if (birth.defaultAcl) await setXattr(workFd, name, ACL_DEFAULT, birth.defaultAcl)
  const owner = await giveMode(sb, workFd, name, type, birth, birth.stub, birth.access ? undefined : present?.mode)
  const acl = birth.access && beyondMode(birth.access)
  return acl || birth.defaultAcl || owner ? { acl, defaultAcl: birth.defaultAcl, owner } : PLAIN
}

/**
 * Sets owner and group of an object in the work directory. Without root it sets only what the server may: one of its own groups. Must come before
 * the extended attributes, because a change of owner drops capabilities. `present` is the present owner; the default is the server.
 */
export async function giveOwner(
  sb: SuperBlock,
  workFd: number,
  name: string,
  owner: Ownership,
  present = { uid: sb.serverUid, gid: sb.serverGid },
): Promise<void> {
  const { uid, gid } = owner
  if (uid === present.uid && gid === present.gid) return
  if (!sb.keepsOwners) await chownAt(workFd, name, uid, gid)
  else if (canOwn(sb, owner)) await chownAt(workFd, name, -1, gid)
}

/**
 * Sets the mode of an object in the work directory. Without root, records what the disk cannot store, and returns the record. `stub`: see `needsStub`;
 * `present`: the present mode, if known.
 */
export async function giveMode(
  sb: SuperBlock,
  workFd: number,
  name: string,
  type: FileType,
  owner: NodeOwnership,
  stub: boolean,
  present?: number,
): Promise<OverrideStat | undefined> {
  const record = stub ? recordOf(type, owner) : recordFor(sb, type, owner)
  if (record) await sb.xattrStore.set(workFd, name, OVERRIDE_STAT, formatOverrideStat(record))
  const mode = diskMode(sb, type, owner.mode, stub)
  if (type !== FileType.symlink && mode !== present && !sb.fixedOwners) await chmodAt(workFd, name, mode)
  return record
}

/**
 * Whether an object must be represented by an empty file with a record, as in containers/storage: a server without root cannot create devices, and
 * can create fifos and sockets, which cannot have a record, only with its own user as the owner.
 */
export function needsStub(sb: SuperBlock, type: FileType, owner: Ownership): boolean {
  if (!sb.keepsOwners || !isSpecial(type)) return false
  const device = type === FileType.block || type === FileType.character
  return device || !canOwn(sb, owner) || diskMode(sb, type, owner.mode) !== owner.mode
}

/**
 * Changes owner, group or mode of the upper object of `inode`, which is at `place`; `now` are its present attributes. What the disk cannot
 * store is recorded, and the record is valid from then on. Without root, the rights of `inode` must be known.
 */
export async function changeOwner(
  sb: SuperBlock,
  inode: OvlInode,
  place: { fd: number; name: string },
  now: Attr,
  change: { readonly uid?: number; readonly gid?: number; readonly mode?: number },
): Promise<void> {
  const { fd, name } = place
  const { type } = inode
  const chowns = change.uid !== undefined || change.gid !== undefined
  if (!sb.keepsOwners) {
    if (chowns) await chownAt(fd, name, change.uid ?? -1, change.gid ?? -1)
    if (change.mode !== undefined && type !== FileType.symlink) await chmodAt(fd, name, change.mode)
    return
  }
  const rights = inode.rights ?? PLAIN
  const want = { uid: change.uid ?? now.uid, gid: change.gid ?? now.gid, mode: change.mode ?? now.mode }
  const { rdevMajor, rdevMinor } = now
  const stub = standsFor(rights.owner) !== undefined
  const node = { ...want, rdevMajor, rdevMinor }
  const record = stub ? recordOf(type, node) : recordFor(sb, type, node)
  if (record) {
    await sb.xattrStore.set(fd, name, OVERRIDE_STAT, formatOverrideStat(record))
    setRights(inode, { ...rights, owner: record })
    inode.changed()
  }
  if (!sb.fixedOwners) {
    if (chowns) await chownAt(fd, name, -1, canOwn(sb, want) ? want.gid : sb.serverGid)
    if (type !== FileType.symlink) await chmodAt(fd, name, diskMode(sb, type, want.mode, stub))
  }
  if (record || !rights.owner) return
  await forgetRecord(sb, fd, name)
  setRights(inode, { ...rights, owner: undefined })
}

async function forgetRecord(sb: SuperBlock, fd: number, name: string): Promise<void> {
  try {
    await sb.xattrStore.remove(fd, name, OVERRIDE_STAT)
  } catch (error) {
    if (!isErrno(error, 'ENODATA')) throw error
  }
}

/** Whether the disk can store this owner and group: without root only the server's own, and none on a file system that stores no owners. */
function canOwn(sb: SuperBlock, { uid, gid }: Ownership): boolean {
  return !sb.fixedOwners && uid === sb.serverUid && (gid === sb.serverGid || sb.serverGroups.includes(gid))
}

/** The record that an object needs; undefined if the disk can store everything, or if the type of object cannot have such a record. */
function recordFor(sb: SuperBlock, type: FileType, owner: NodeOwnership): OverrideStat | undefined {
  if (!sb.keepsOwners || (type !== FileType.regular && type !== FileType.directory)) return undefined
  if (canOwn(sb, owner) && diskMode(sb, type, owner.mode) === owner.mode) return undefined
  return recordOf(type, owner)
}

function recordOf(type: FileType, { uid, gid, mode, rdevMajor, rdevMinor }: NodeOwnership): OverrideStat {
  return { uid, gid, mode, type, rdevMajor, rdevMinor }
}

/**
 * The mode on disk. Without root, the server needs access to the object whatever the mode says, and setuid and setgid on disk would apply to
 * the server's user. The true mode is then recorded.
 */
export function diskMode(sb: SuperBlock, type: FileType, mode: number, stub = false): number {
  if (!sb.keepsOwners) return mode
  if (type === FileType.directory) return (mode & (PERMISSIONS | STICKY)) | 0o700
  return (mode & PERMISSIONS) | (stub || type === FileType.regular ? 0o600 : 0)
}
