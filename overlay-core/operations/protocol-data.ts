import { isErrno, OverlayError } from '../api/errno.ts'
import type { Cred } from '../api/types.ts'
import { keepsIdentities } from '../layer/layer.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, withPlace } from '../objects/inode.ts'
import { need, WRITE } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { INLINE_DATA_BYTES, isMarker } from '../sidecar/protocol-data-store.ts'
import { changeXattr } from './xattr.ts'

/** @see Overlay.getProtocolData */
export async function getProtocolData(sb: SuperBlock, inode: OvlInode, slot: string): Promise<Uint8Array | undefined> {
  return await withPlace(sb, inode, async (fd, at) => {
    const value = await sb.xattrStore.get(fd, at, sb.overlayXattrs.protocolData(slot))
    return value && isMarker(value) ? await sb.protocolData?.read(ownIno(inode), slot, value) : value
  })
}

/** The inode number by which the store knows the object; undefined if it never was in the upper. */
export function ownIno({ real }: OvlInode): number | undefined {
  return keepsIdentities(real.layer) ? real.ino : undefined
}

/** @see Overlay.setProtocolData */
export async function setProtocolData(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  slot: string,
  value: Uint8Array | undefined,
  where?: 'upper',
): Promise<void> {
  if (where === 'upper' && !inode.upper) return
  const attr = await attrFor(sb, cred, inode)
  if (cred.uid !== attr.uid) need(cred, attr, WRITE, 'setProtocolData')
  if (value === undefined && (await getProtocolData(sb, inode, slot)) === undefined) return
  await changeXattr(sb, inode, async (fd, at) => {
    const name = sb.overlayXattrs.protocolData(slot)
    const { ino } = inode.real
    if (value === undefined) {
      await sb.xattrStore.remove(fd, at, name)
      await sb.protocolData?.dropOthers(ino, slot, undefined)
    } else if (!inode.unlinked) {
      await sb.protocolData?.dropOthers(ino, slot, await putProtocolData(sb, { fd, name: at, ino }, slot, value))
    }
  })
}

/**
 * Stores protocol data with an upper object: in its attribute if the data is small and there is space, otherwise in the store. Returns the new
 * value of the attribute. The caller removes the data that the store held before.
 *
 * @throws ENOSPC
 */
export async function putProtocolData(
  sb: SuperBlock,
  place: { readonly fd: number; readonly name: string; readonly ino: number },
  slot: string,
  value: Uint8Array,
): Promise<Uint8Array> {
  const name = sb.overlayXattrs.protocolData(slot)
  if (value.length <= INLINE_DATA_BYTES && value[0] !== 0) {
    try {
      await sb.xattrStore.set(place.fd, place.name, name, value)
      return value
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error
    }
  }
  if (sb.protocolData === undefined) throw new OverlayError('EROFS', 'setProtocolData')
  const marker = await sb.protocolData.write(place.fd, place.name, place.ino, slot, value)
  try {
    await sb.xattrStore.set(place.fd, place.name, name, marker)
  } catch (error) {
    await sb.protocolData.dropOthers(place.ino, slot, await sb.xattrStore.get(place.fd, place.name, name))
    throw error
  }
  return marker
}
