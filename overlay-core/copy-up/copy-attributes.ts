import { isErrno } from '../api/errno.ts'
import type { Real } from '../layer/layer.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { isMarker } from '../sidecar/protocol-data-store.ts'

/** Copies extended attributes, including ACLs but not those private to an overlay (ovl_copy_xattr). */
export async function copyXattrs(sb: SuperBlock, lower: Real, workFd: number, temp: string): Promise<void> {
  const parentFd = await sb.descriptors.of(lower.parent as Real)
  for (const name of await sb.xattrStore.list(parentFd, lower.name)) {
    if (!sb.overlayXattrs.copiesUp(name)) continue
    const value = await sb.xattrStore.get(parentFd, lower.name, name)
    // Large protocol data is in the workdir of the overlay whose upper this lower was.
    const elsewhere = !lower.layer.frozen && sb.overlayXattrs.slotOf(name) !== undefined
    if (!value || (elsewhere && isMarker(value))) continue
    await carryAttribute(sb, { fd: workFd, name: temp }, name, value)
  }
}

/**
 * Copies an attribute of the original or replaced object to an object that is being built in the work directory, if the upper can store it.
 * Attributes that restrict access must not be lost.
 *
 * @throws EOPNOTSUPP | EPERM an ACL cannot be set · ENOSPC
 */
export async function carryAttribute(
  sb: SuperBlock,
  to: { readonly fd: number; readonly name: string },
  attr: string,
  value: Uint8Array,
): Promise<void> {
  try {
    await sb.xattrStore.set(to.fd, to.name, attr, value)
  } catch (error) {
    if (attr.startsWith('system.posix_acl_') || !isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error
  }
}
