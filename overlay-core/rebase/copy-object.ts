import { isErrno } from '../api/errno.ts'
import type { Overlay } from '../api/overlay-api.ts'
import { type Attr, type Cred, FileType, type Inode, type Name } from '../api/types.ts'
import { carryAttribute } from '../copy-up/copy-attributes.ts'
import { copyData, copyExtents } from '../copy-up/copy-data.ts'
import { encodeLowerIdentity } from '../layer/identity.ts'
import type { Real } from '../layer/layer.ts'
import { setImpure } from '../lookup/marks.ts'
import { writeIdentityMark } from '../lookup/origin.ts'
import { superBlockOf } from '../mount/superblock-of.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { placeOf } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'

/** An object to be copied. */
export interface CopySource {
  readonly overlay: Overlay
  readonly inode: Inode
}

/** Where the copy goes. Nobody else uses this overlay. */
export interface CopyTarget {
  readonly overlay: Overlay
  readonly dir: Inode
  readonly name: Name
}

/** Up to this size, files are copied without an attempt to share their blocks. */
const SMALL_BYTES = 64 * 1024

/**
 * Copies a non-directory to a free name, with owner, mode, times, attributes, ACLs, protocol data, and the identity that clients know. Data is shared where the
 * file system can do that. Nothing is synced.
 */
export async function copyObject(cred: Cred, from: CopySource, { overlay, dir, name }: CopyTarget): Promise<Inode> {
  const attr = await from.overlay.getattr(from.inode)
  const inode = await makeAlike(cred, from, attr, { overlay, dir, name })
  if (attr.type === FileType.regular) await copyContent(cred, from, attr.size, { overlay, inode })
  await dress(cred, from, attr, { overlay, inode })
  await markIdentity(from.inode, { overlay, inode })
  return inode
}

/** Overwrites a regular file, all names of which show the copy then. */
export async function overwriteWith(cred: Cred, from: CopySource, to: CopySource): Promise<void> {
  const attr = await from.overlay.getattr(from.inode)
  await copyContent(cred, from, attr.size, to)
  await dress(cred, from, attr, to)
}

async function makeAlike(
  cred: Cred,
  { overlay: view, inode }: CopySource,
  attr: Attr,
  { overlay, dir, name }: CopyTarget,
): Promise<Inode> {
  const how = { mode: attr.mode & 0o777 }
  if (attr.type === FileType.regular) return await overlay.create(cred, dir, name, how)
  if (attr.type === FileType.symlink)
    return await overlay.symlink(cred, dir, name, await view.readlink(cred, inode), how)
  const rdev = { major: attr.rdevMajor, minor: attr.rdevMinor }
  return await overlay.mknod(cred, dir, name, attr.type, rdev, how)
}

async function copyContent(cred: Cred, from: CopySource, size: number, to: CopySource): Promise<void> {
  // Both are looked up again if they must be.
  await to.overlay.setattr(cred, to.inode, { size: 0 })
  if (size === 0) return
  const [source, target] = [superBlockOf(from.overlay), superBlockOf(to.overlay)]
  const read = await source.files.acquire(from.inode as OvlInode, false)
  try {
    const written = await target.files.acquire(to.inode as OvlInode, true)
    try {
      // Sharing blocks of a small file is not worth the call that tries it.
      const copy = size <= SMALL_BYTES ? copyExtents : copyData
      await copy(read.fd, written.fd, size, false, () => undefined)
    } finally {
      target.files.release(written)
    }
  } finally {
    source.files.release(read)
  }
  ;(to.inode as OvlInode).changed()
}

/** Gives an object owner, mode, attributes and times of another one. */
export async function dress(cred: Cred, from: CopySource, attr: Attr, to: CopySource): Promise<void> {
  const { uid, gid, mode, atime, mtime, type } = attr
  await to.overlay.setattr(cred, to.inode, { uid, gid })
  await copyAttributes(from, to)
  if (type !== FileType.symlink) await to.overlay.setattr(cred, to.inode, { mode })
  await to.overlay.setattr(cred, to.inode, { atime, mtime })
}

async function copyAttributes(from: CopySource, to: CopySource): Promise<void> {
  const [source, target] = [superBlockOf(from.overlay), superBlockOf(to.overlay)]
  const stored = await attributesOf(source, from.inode as OvlInode)
  await target.descriptors.run(async () => {
    const place = await placeOf(target, to.inode as OvlInode)
    const present = await target.xattrStore.list(place.fd, place.name)
    for (const name of present)
      if (target.overlayXattrs.copiesUp(name) && !stored.has(name)) await removed(target, place, name)
    for (const [name, value] of stored) await carryAttribute(target, place, name, value)
  })
  ;(to.inode as OvlInode).rights = undefined
  ;(to.inode as OvlInode).changed()
}

/** The stored attributes of an object that go with it, under their stored names. */
async function attributesOf(sb: SuperBlock, inode: OvlInode): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>()
  await sb.descriptors.run(async () => {
    const { fd, name: at } = await placeOfReal(sb, inode.real)
    for (const name of await sb.xattrStore.list(fd, at)) {
      if (!sb.overlayXattrs.copiesUp(name)) continue
      const value = await sb.xattrStore.get(fd, at, name)
      if (value) found.set(name, value)
    }
  })
  return found
}

async function placeOfReal(sb: SuperBlock, real: Real): Promise<{ fd: number; name: string }> {
  if (real.parent) return { fd: await sb.descriptors.of(real.parent), name: real.name }
  return { fd: await sb.descriptors.of(real), name: '' }
}

async function removed(sb: SuperBlock, { fd, name }: { fd: number; name: string }, attr: string): Promise<void> {
  try {
    await sb.xattrStore.remove(fd, name, attr)
  } catch (error) {
    if (!isErrno(error, 'ENODATA', 'EOPNOTSUPP', 'EPERM')) throw error
  }
}

/** Writes the identity of an object of the view on what takes its place, so that file handles go on. */
export async function markIdentity(known: Inode, { overlay, inode }: CopySource): Promise<void> {
  const sb = superBlockOf(overlay)
  const object = inode as OvlInode
  const { upper } = object
  if (!upper?.parent) return
  const parent = upper.parent
  await sb.descriptors.run(async () => {
    const { fd, name } = await placeOf(sb, object)
    const value = encodeLowerIdentity(known as OvlInode, 1)
    await writeIdentityMark(sb, fd, name, { name: sb.overlayXattrs.identity, value })
    await setImpure(sb, parent)
  })
}
