import { OverlayError } from '../api/errno.ts'
import { type Cred, FileType } from '../api/types.ts'
import { copyUp } from '../copy-up/copy-up.ts'
import { ACL_ACCESS, encodeAcl, parseAcl, withMode } from '../layer/acl.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, needChangeable, placeOf, withPlace } from '../objects/inode.ts'
import { need, READ, WRITE } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { XATTR_CREATE, XATTR_REPLACE } from '../sys/flags.ts'
import { isAcl, setAcl } from './acl-change.ts'

const NAME_MAX_BYTES = 255

/** @see Overlay.getxattr */
export async function getxattr(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  name: string,
): Promise<Uint8Array | undefined> {
  if (name.startsWith('trusted.') && cred.uid !== 0) return undefined
  if (sb.overlayXattrs.isRefused(name)) return undefined
  const attr = await attrFor(sb, cred, inode)
  needXattr(cred, attr, name, READ)
  const value = await withPlace(sb, inode, (fd, at) => sb.xattrStore.get(fd, at, sb.overlayXattrs.toStored(name)))
  // On disk the owner's rights may be wider, so that the server can access the object.
  if (value && name === ACL_ACCESS && sb.keepsOwners) return encodeAcl(withMode(parseAcl(value), attr.mode))
  return value
}

/** @see Overlay.listxattr */
export async function listxattr(sb: SuperBlock, cred: Cred, inode: OvlInode): Promise<string[]> {
  const stored = await withPlace(sb, inode, (fd, at) => sb.xattrStore.list(fd, at))
  const shown = stored.map((name) => sb.overlayXattrs.toShown(name)).filter((name) => name !== undefined)
  return cred.uid === 0 ? shown : shown.filter((name) => !name.startsWith('trusted.'))
}

/** @see Overlay.setxattr */
export async function setxattr(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  name: string,
  value: Uint8Array,
  how?: 'create' | 'replace',
): Promise<void> {
  if (isAcl(name)) return await setAcl(sb, cred, inode, name, value)
  needXattr(cred, await attrFor(sb, cred, inode), name, WRITE)
  if (sb.overlayXattrs.isRefused(name)) throw new OverlayError('EPERM', 'xattr', name)
  const flags = how === 'create' ? XATTR_CREATE : how === 'replace' ? XATTR_REPLACE : 0
  await changeXattr(sb, inode, (fd, at) => sb.xattrStore.set(fd, at, sb.overlayXattrs.toStored(name), value, flags))
}

/** @see Overlay.removexattr */
export async function removexattr(sb: SuperBlock, cred: Cred, inode: OvlInode, name: string): Promise<void> {
  if (isAcl(name)) return await setAcl(sb, cred, inode, name, undefined)
  needXattr(cred, await attrFor(sb, cred, inode), name, WRITE)
  if (sb.overlayXattrs.isRefused(name)) throw new OverlayError('EPERM', 'xattr', name)
  if (sb.upper && !inode.upper) await needPresent(sb, inode, name)
  await changeXattr(sb, inode, (fd, at) => sb.xattrStore.remove(fd, at, sb.overlayXattrs.toStored(name)))
}

/** Checks that the object has the attribute before it is copied up (ovl_xattr_set). @throws ENODATA */
async function needPresent(sb: SuperBlock, inode: OvlInode, name: string): Promise<void> {
  const value = await withPlace(sb, inode, (fd, at) => sb.xattrStore.get(fd, at, sb.overlayXattrs.toStored(name)))
  if (value === undefined) throw new OverlayError('ENODATA', 'removexattr', name)
}

/**
 * Changes extended attributes of the upper object under the lock of `inode`, after a copy-up if necessary.
 * @throws EROFS
 */
export async function changeXattr(
  sb: SuperBlock,
  inode: OvlInode,
  work: (fd: number, name: string) => Promise<void>,
): Promise<void> {
  if (sb.readOnly) throw new OverlayError('EROFS', 'setxattr')
  needChangeable(inode, 'setxattr')
  await sb.descriptors.run(async () => {
    if (!inode.unlinked) await copyUp(sb, inode, 'metadata')
    await inode.nodeLock.exclusive(async () => {
      const place = await placeOf(sb, inode)
      try {
        await work(place.fd, place.name)
      } finally {
        inode.changed()
      }
    })
  })
}

/**
 * Checks the permission for an extended attribute according to its namespace (xattr(7), fs/xattr.c xattr_permission).
 *
 * @throws EPERM · EACCES · EOPNOTSUPP unknown namespace · ERANGE the name is too long
 */
function needXattr(cred: Cred, attr: CheckedAttr, name: string, right: number): void {
  if (Buffer.byteLength(name, 'latin1') > NAME_MAX_BYTES) throw new OverlayError('ERANGE', 'xattr', name)
  if (name.startsWith('trusted.')) {
    if (cred.uid !== 0) throw new OverlayError('EPERM', 'xattr', name)
  } else if (name.startsWith('user.')) {
    needUserXattr(cred, attr, name, right)
  } else if (isAcl(name)) {
    // Anyone may read an ACL, on objects that can have one; `setAcl` checks the rest.
    if (attr.type === FileType.symlink) throw new OverlayError('EOPNOTSUPP', 'xattr', name)
  } else if (name.startsWith('security.')) {
    if (right === WRITE && cred.uid !== 0) throw new OverlayError('EPERM', 'xattr', name)
  } else {
    need(cred, attr, right, 'xattr')
    throw new OverlayError('EOPNOTSUPP', 'xattr', name)
  }
}

function needUserXattr(cred: Cred, attr: CheckedAttr, name: string, right: number): void {
  if (attr.type !== FileType.regular && attr.type !== FileType.directory) {
    throw new OverlayError(right === WRITE ? 'EPERM' : 'ENODATA', 'xattr', name)
  }
  const sticky = attr.type === FileType.directory && (attr.mode & 0o1000) !== 0
  if (sticky && right === WRITE && cred.uid !== 0 && cred.uid !== attr.uid)
    throw new OverlayError('EPERM', 'xattr', name)
  need(cred, attr, right, 'xattr')
}
