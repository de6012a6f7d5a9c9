import { isErrno, OverlayError } from '../api/errno.ts'
import type { Cred } from '../api/types.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, withPlace } from '../objects/inode.ts'
import { need, WRITE } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { isMarker, SMALL_NOTE_BYTES } from '../sidecar/protocol-data-store.ts'
import { changeXattr } from './xattr.ts'

/** @see Overlay.getNote */
export async function getNote(sb: SuperBlock, inode: OvlInode, slot: string): Promise<Uint8Array | undefined> {
  return await withPlace(sb, inode, async (fd, at) => {
    const value = await sb.attributes.get(fd, at, sb.xattrs.note(slot))
    return value && isMarker(value) ? await sb.notes?.read(inode, slot, value) : value
  })
}

/** @see Overlay.setNote */
export async function setNote(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  slot: string,
  value: Uint8Array | undefined,
  where?: 'upper',
): Promise<void> {
  if (where === 'upper' && !inode.upper) return
  const attr = await attrFor(sb, cred, inode)
  if (cred.uid !== attr.uid) need(cred, attr, WRITE, 'setNote')
  if (value === undefined && (await getNote(sb, inode, slot)) === undefined) return
  await changeXattr(sb, inode, async (fd, at) => {
    const name = sb.xattrs.note(slot)
    const { ino } = inode.real
    if (value === undefined) {
      await sb.attributes.remove(fd, at, name)
      await sb.notes?.dropOthers(ino, slot, undefined)
    } else if (!inode.unlinked) {
      await sb.notes?.dropOthers(ino, slot, await putNote(sb, { fd, name: at, ino }, slot, value))
    }
  })
}

/**
 * Puts a note on an upper object: into its attribute when small and there is room, else into the store. Returns what the attribute holds
 * now. What the store held before is the caller's to drop.
 *
 * @throws ENOSPC
 */
export async function putNote(
  sb: SuperBlock,
  place: { readonly fd: number; readonly name: string; readonly ino: number },
  slot: string,
  value: Uint8Array,
): Promise<Uint8Array> {
  const name = sb.xattrs.note(slot)
  if (value.length <= SMALL_NOTE_BYTES && value[0] !== 0) {
    try {
      await sb.attributes.set(place.fd, place.name, name, value)
      return value
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error
    }
  }
  if (sb.notes === undefined) throw new OverlayError('EROFS', 'setNote')
  const marker = await sb.notes.write(place.fd, place.name, place.ino, slot, value)
  try {
    await sb.attributes.set(place.fd, place.name, name, marker)
  } catch (error) {
    await sb.notes.dropOthers(place.ino, slot, await sb.attributes.get(place.fd, place.name, name))
    throw error
  }
  return marker
}
