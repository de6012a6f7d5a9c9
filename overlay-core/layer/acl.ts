import { OverlayError } from '../api/errno.ts'

/** The attributes that store the ACLs of an object. */
export const ACL_ACCESS = 'system.posix_acl_access'
export const ACL_DEFAULT = 'system.posix_acl_default'

/** `struct posix_acl_xattr_header` and `_entry` (include/uapi/linux/posix_acl_xattr.h): little-endian on every machine. */
const VERSION = 2
const HEADER_BYTES = 4
const ENTRY_BYTES = 8
const NO_ID = 0xffffffff

const Tag = { userObj: 1, user: 2, groupObj: 4, group: 8, mask: 16, other: 32 } as const

/** One entry: its subject (`tag`, and `id` for a named user or group) and its permissions as bits 4 2 1. */
export interface AclEntry {
  readonly tag: number
  readonly perm: number
  readonly id: number
}

/** The rights of one named user or group. */
export interface NamedRight {
  readonly id: number
  readonly perm: number
}

/**
 * The part of an access ACL beyond the mode. The rights of owner and others, and the mask, are in the mode, where chmod changes
 * them, so this stays valid through any chmod.
 */
export interface AccessAcl {
  readonly users: readonly NamedRight[]
  readonly groups: readonly NamedRight[]
  /** The owning group's rights, before the mask. */
  readonly groupPerm: number
}

/**
 * Decodes the value of an ACL attribute; no entries mean that the ACL should be removed.
 *
 * @throws EINVAL malformed · EOPNOTSUPP another version
 * @see fs/posix_acl.c posix_acl_from_xattr
 */
export function parseAcl(value: Uint8Array): AclEntry[] {
  if (value.length === 0) return []
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  if (value.length < HEADER_BYTES) throw new OverlayError('EINVAL', 'acl')
  if (view.getUint32(0, true) !== VERSION) throw new OverlayError('EOPNOTSUPP', 'acl')
  if ((value.length - HEADER_BYTES) % ENTRY_BYTES !== 0) throw new OverlayError('EINVAL', 'acl')
  const entries: AclEntry[] = []
  for (let at = HEADER_BYTES; at < value.length; at += ENTRY_BYTES) {
    const tag = view.getUint16(at, true)
    const named = tag === Tag.user || tag === Tag.group
    const id = named ? view.getUint32(at + 4, true) : NO_ID
    if (named && id === NO_ID) throw new OverlayError('EINVAL', 'acl')
    entries.push({ tag, perm: view.getUint16(at + 2, true), id })
  }
  return entries
}

/** Encodes entries as the value of an ACL attribute (posix_acl_to_xattr). */
export function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const value = new Uint8Array(HEADER_BYTES + entries.length * ENTRY_BYTES)
  const view = new DataView(value.buffer)
  view.setUint32(0, VERSION, true)
  for (const [i, { tag, perm, id }] of entries.entries()) {
    const at = HEADER_BYTES + i * ENTRY_BYTES
    view.setUint16(at, tag, true)
    view.setUint16(at + 2, perm, true)
    view.setUint32(at + 4, id, true)
  }
  return value
}

/**
 * Checks that entries form a valid ACL: owner, named users, group, named groups, mask (required if anyone is named), others.
 *
 * @throws EINVAL they are invalid
 * @see fs/posix_acl.c posix_acl_valid
 */
export function checkAcl(entries: readonly AclEntry[]): void {
  const order: readonly number[] = [Tag.userObj, Tag.user, Tag.groupObj, Tag.group, Tag.mask, Tag.other]
  const count = (tag: number) => entries.filter((entry) => entry.tag === tag).length
  let last = -1
  for (const { tag, perm } of entries) {
    const at = order.indexOf(tag)
    if (at < last || at < 0 || (perm & ~7) !== 0) throw new OverlayError('EINVAL', 'acl')
    last = at
  }
  const named = count(Tag.user) + count(Tag.group) > 0
  const masks = count(Tag.mask)
  const complete = count(Tag.userObj) === 1 && count(Tag.groupObj) === 1 && count(Tag.other) === 1
  if (!complete || masks > 1 || (named && masks === 0)) throw new OverlayError('EINVAL', 'acl')
}

/** The part of an access ACL beyond the mode; undefined if the mode is equivalent. */
export function beyondMode(entries: readonly AclEntry[]): AccessAcl | undefined {
  if (!entries.some(({ tag }) => tag === Tag.mask)) return undefined
  const named = (tag: number) => entries.filter((entry) => entry.tag === tag).map(({ id, perm }) => ({ id, perm }))
  const groupPerm = entries.find(({ tag }) => tag === Tag.groupObj)?.perm ?? 0
  return { users: named(Tag.user), groups: named(Tag.group), groupPerm }
}

/**
 * The result of the default ACL of a directory for a new object: its mode, restricted by the ACL, and its access ACL if the mode
 * is not equivalent.
 *
 * @see fs/posix_acl.c posix_acl_create and posix_acl_create_masq
 */
export function inheritAcl(
  entries: readonly AclEntry[],
  mode: number,
): { mode: number; access: AclEntry[] | undefined } {
  const masked = entries.some(({ tag }) => tag === Tag.mask)
  const groupTag = masked ? Tag.mask : Tag.groupObj
  let result = mode
  const access = entries.map((entry) => {
    const shift = shiftOf(entry.tag, groupTag)
    if (shift === undefined) return entry
    const perm = entry.perm & (mode >> shift) & 7
    result = (result & ~(7 << shift)) | (perm << shift)
    return { ...entry, perm }
  })
  return { mode: result, access: masked ? access : undefined }
}

/** The entries, updated from the mode (posix_acl_chmod). */
export function withMode(entries: readonly AclEntry[], mode: number): AclEntry[] {
  const groupTag = entries.some(({ tag }) => tag === Tag.mask) ? Tag.mask : Tag.groupObj
  return entries.map((entry) => {
    const shift = shiftOf(entry.tag, groupTag)
    return shift === undefined ? entry : { ...entry, perm: (mode >> shift) & 7 }
  })
}

/** The permission bits of the mode according to an access ACL (posix_acl_equiv_mode). */
export function modeOf(entries: readonly AclEntry[]): number {
  const groupTag = entries.some(({ tag }) => tag === Tag.mask) ? Tag.mask : Tag.groupObj
  let mode = 0
  for (const { tag, perm } of entries) mode |= perm << (shiftOf(tag, groupTag) ?? 9)
  return mode & 0o777
}

/** The shift of an entry's permission bits in the mode; undefined for entries that are not in the mode. */
function shiftOf(tag: number, groupTag: number): number | undefined {
  if (tag === Tag.userObj) return 6
  if (tag === groupTag) return 3
  return tag === Tag.other ? 0 : undefined
}
