import { OverlayError } from '../api/errno.ts'
import { FileType, type MaybePromise } from '../api/types.ts'
import { ACL_ACCESS, ACL_DEFAULT, beyondMode, parseAcl } from '../layer/acl.ts'
import type { Found, Layer, Real } from '../layer/layer.ts'
import { ownAttr } from '../layer/object-attr.ts'
import { isPlain, PLAIN, type Rights } from '../layer/object-rights.ts'
import { OVERRIDE_STAT, parseOverrideStat, standsFor } from '../layer/override-stat.ts'
import { LowerReal } from '../stack/lower-real.ts'
import { closeSync } from '../sys/open.ts'
import type { OvlInode } from './dentry.ts'
import type { RealFile } from './file-cache.ts'
import type { SuperBlock } from './superblock.ts'

/** The rights of an object if known without reading them: from its list of attributes, or because its file system has no ACLs. */
export function knownRights(sb: SuperBlock, real: Real): Rights | undefined {
  if (real.plain || (!real.layer.hasAcls && !sb.keepsOwners)) return PLAIN
  return real instanceof LowerReal ? real.rights : undefined
}

/** Reads the rights of `inode` unless they are known. @throws ESTALE it no longer exists */
export function loadRights(sb: SuperBlock, inode: OvlInode): MaybePromise<Rights> {
  return inode.rights ?? readOrWait(sb, inode)
}

async function readOrWait(sb: SuperBlock, inode: OvlInode): Promise<Rights> {
  // The object is not at its place, because it is being moved or was removed. Under its lock this is certain.
  return (await tryLoad(sb, inode)) ?? (await inode.nodeLock.shared(() => loadRightsLocked(sb, inode)))
}

/** Like `loadRights`, for a caller that holds the lock of `inode`. */
export async function loadRightsLocked(sb: SuperBlock, inode: OvlInode): Promise<Rights> {
  const rights = await tryLoad(sb, inode)
  if (!rights) throw new OverlayError('ESTALE', 'rights')
  return rights
}

async function tryLoad(sb: SuperBlock, inode: OvlInode): Promise<Rights | undefined> {
  while (inode.rights === undefined) {
    const { real } = inode
    const rights = knownRights(sb, real) ?? (await readRights(sb, inode))
    // A change of rights sets them afterwards; a copy-up replaces the real object.
    if (inode.rights !== undefined) break
    if (inode.real !== real) continue
    if (!rights) return undefined
    if (real instanceof LowerReal) noteRights(real, rights)
    setRights(inode, rights)
  }
  return inode.rights
}

function isNothing({ acl, defaultAcl, owner }: Rights): boolean {
  return acl === undefined && defaultAcl === undefined && owner === undefined
}

/** Remembers the rights that were read, for all overlays of the stack. */
function noteRights(real: LowerReal, rights: Rights): void {
  if (real.layer.revalidates) return
  if (isNothing(rights)) real.plain = true
  else real.rights = rights
}

/** Caches the rights of `inode`, also in its cached attributes. */
export function setRights(inode: OvlInode, rights: Rights): void {
  const plain = isNothing(rights)
  inode.rights = plain ? PLAIN : rights
  // The earlier list of attributes is outdated.
  if (!plain) inode.real.plain = false
  const { attr } = inode
  if (!attr) return
  if (rights.owner || inode.real instanceof LowerReal) inode.attr = undefined
  else if (attr.acl !== rights.acl) inode.attr = { ...ownAttr(attr), acl: rights.acl }
}

/** The rights on disk; undefined if another object is at its place. */
function readRights(sb: SuperBlock, inode: OvlInode): MaybePromise<Rights | undefined> {
  const { real, file } = inode
  if (inode.unlinked) {
    if (!file || inode.dataReal) throw new OverlayError('ESTALE', 'rights')
    return heldRights(sb, real.layer, file)
  }
  return sb.descriptors.run(async () => {
    if (inode.type === FileType.directory || !real.parent) {
      return await rightsOf(sb, real.layer, await sb.descriptors.of(real), '')
    }
    // Reads through a descriptor, because the name may be given to another object at any time.
    const fd = await sb.descriptors.openObject(real)
    if (fd < 0) return undefined
    try {
      if (!sb.xattrStore.byName || !real.layer.isUpper) return await rightsOf(sb, real.layer, fd, '')
      return await rightsOf(sb, real.layer, await sb.descriptors.of(real.parent), real.name)
    } finally {
      closeSync(fd)
    }
  })
}

async function heldRights(sb: SuperBlock, layer: Layer, file: RealFile): Promise<Rights> {
  file.users++
  try {
    return await rightsOf(sb, layer, file.fd, '')
  } finally {
    sb.files.release(file)
  }
}

/** The type of a found object. Without root, an empty file may represent a device, fifo or socket. */
export async function shownType(sb: SuperBlock, { real, stat }: Found): Promise<FileType> {
  if (real.plain || stat.type !== FileType.regular || stat.size > 0) return stat.type
  const rights =
    knownRights(sb, real) ?? (await rightsOf(sb, real.layer, await sb.descriptors.of(real.parent as Real), real.name))
  real.plain = rights === PLAIN
  if (real instanceof LowerReal) noteRights(real, rights)
  return standsFor(rights.owner) ?? stat.type
}

/** Reads the rights of the real object `name` in `dirFd`, or with '' of the descriptor itself. */
export async function rightsOf(sb: SuperBlock, layer: Layer, dirFd: number, name: string): Promise<Rights> {
  const names = await sb.xattrStore.list(dirFd, name)
  if (isPlain(names)) return PLAIN
  const read = async (attr: string) => (names.includes(attr) ? await sb.xattrStore.get(dirFd, name, attr) : undefined)
  const access = layer.hasAcls ? await read(ACL_ACCESS) : undefined
  // A server with root trusts only its own records, because anybody who owns a file in a lower can set one there.
  const owner = sb.keepsOwners && (!sb.privileged || layer.isUpper) ? await read(OVERRIDE_STAT) : undefined
  return {
    acl: access && beyondMode(parseAcl(access)),
    defaultAcl: layer.hasAcls ? await read(ACL_DEFAULT) : undefined,
    owner: owner && parseOverrideStat(owner),
  }
}
