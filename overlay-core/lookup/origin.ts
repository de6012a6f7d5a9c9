import { isErrno } from '../api/errno.ts'
import { FileType } from '../api/types.ts'
import { encodeIdentity, encodeLowerIdentity, isNameKey, keyOf } from '../layer/identity.ts'
import { keepsIdentities, type Layer, type Real } from '../layer/layer.ts'
import { withTrueLinks } from '../layer/true-links.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { O_PATH } from '../sys/flags.ts'
import { type KernelHandle, nameToHandle, openByHandle } from '../sys/handle.ts'
import { closeSync } from '../sys/open.ts'
import { type Stat, statxFd } from '../sys/stat.ts'

/** The number of bytes before the file system's own handle in `struct ovl_fb` (fs/overlayfs/overlayfs.h). */
const HEADER_BYTES = 21
const MAGIC = 0xfb
const BIG_ENDIAN = 1
const ANY_ENDIAN = 2
/** FILEID_BTRFS_*: these handle types also identify the subvolume. */
const BTRFS_HANDLES: ReadonlySet<number> = new Set([0x4d, 0x4e, 0x4f])
const OTHER_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? BIG_ENDIAN : 0

/** The lower object that an upper one was copied up from. If that is in a layer that was the upper itself, with its marks. */
export interface Origin {
  readonly layer: Layer
  readonly stat: Stat
  readonly origin?: Uint8Array | undefined
  readonly identity?: Uint8Array | undefined
}

/**
 * The kernel's encoding of the identity of `real` (`struct ovl_fb`: version, magic, length, flags, handle type, file system uuid,
 * handle), or undefined if the file system has no handles.
 */
export async function encodeOrigin(sb: SuperBlock, real: Real): Promise<Uint8Array | undefined> {
  const handle = real.parent
    ? await nameToHandle(await sb.descriptors.of(real.parent), real.name)
    : await nameToHandle(await sb.descriptors.of(real), '')
  return originOf(real.layer, handle)
}

/** Like `encodeOrigin`, for the object in `layer` with this handle. */
export function originOf(layer: Layer, handle: KernelHandle | undefined): Uint8Array | undefined {
  if (!handle || handle.bytes.length > 128 || handle.type > 0xfe) return undefined
  const out = new Uint8Array(HEADER_BYTES + handle.bytes.length)
  out[1] = MAGIC
  out[2] = out.length
  out[4] = handle.type
  out.set(layer.fsUuid, 5)
  out.set(handle.bytes, HEADER_BYTES)
  return out
}

/** The name of `origin` in the index directory: lower case hex. */
export function indexNameOf(origin: Uint8Array): string {
  return Buffer.from(origin).toString('hex')
}

/** An attribute that records the identity of a copy. */
export interface IdentityMark {
  readonly name: string
  readonly value: Uint8Array
}

/**
 * The attributes that record the identity of the copy of `lower` (with attributes `stat`): its origin, where an empty one means copied up but not to be
 * followed. If origins cannot be followed (see `followsOrigins`), also the identity itself, because a moved copy could not be led back to the lower.
 */
export async function identityMarks(sb: SuperBlock, inode: OvlInode, lower: Real, stat: Stat): Promise<IdentityMark[]> {
  return await marksOf(sb, inode, lower.layer, await encodeOrigin(sb, lower), stat)
}

/** Like `identityMarks`, after the origin in `layer` was encoded, if possible. */
export async function marksOf(
  sb: SuperBlock,
  inode: OvlInode,
  layer: Layer,
  origin: Uint8Array | undefined,
  stat: Stat,
): Promise<IdentityMark[]> {
  // If another name of its lower has been copied up (`isElsewhere`), the two must not be confused.
  const key = keyOf(layer, stat)
  // It is a copy already, of a lower that its origin need not lead to: that of a directory is found through the lowers.
  const copied = layer.frozen && inode.key !== key && inode.type !== FileType.directory
  if (!copied && isNameKey(inode, key)) return [{ name: sb.overlayXattrs.identity, value: encodeIdentity(inode) }]
  const marks = [{ name: sb.overlayXattrs.origin, value: origin ?? new Uint8Array(0) }]
  // A directory that was moved records in its redirect where its lowers are.
  const followed =
    inode.type === FileType.directory || (!copied && origin !== undefined && (await followsOrigins(layer)))
  if (!followed) marks.push({ name: sb.overlayXattrs.identity, value: encodeLowerIdentity(inode, stat.nlink) })
  return marks
}

/**
 * Whether origins in the layer lead to their objects reliably. Not so if the file system has no UUID of its own, or without CAP_DAC_READ_SEARCH, which
 * root in a container lacks too.
 */
async function followsOrigins(layer: Layer): Promise<boolean> {
  if (layer.marksCopies) return false
  layer.followsOrigins ??= await opensHandles(layer)
  return layer.followsOrigins
}

async function opensHandles({ root }: Layer): Promise<boolean> {
  try {
    const handle = await nameToHandle(root.fd, '')
    if (handle) closeSync(await openByHandle(root.fd, handle.type, handle.bytes, O_PATH))
    return handle !== undefined
  } catch (error) {
    if (isErrno(error)) return false
    throw error
  }
}

/** Writes an identity mark of an upper object. */
export async function writeIdentityMark(
  sb: SuperBlock,
  dirFd: number,
  name: string,
  mark: IdentityMark,
): Promise<void> {
  try {
    await sb.xattrStore.set(dirFd, name, mark.name, mark.value)
  } catch (error) {
    // As in the kernel: an upper without such attributes still works, only the file id changes at copy-up.
    if (!isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error
  }
}

/**
 * Finds the lower object of `origin`: first among `candidates` (the same name in the lowers), which needs no privilege, then by
 * its file handle. Undefined if it no longer exists, is on no layer, or cannot be reached.
 */
export async function resolveOrigin(
  sb: SuperBlock,
  origin: Uint8Array,
  candidates: readonly { readonly real: Real; readonly stat: Stat }[],
): Promise<Origin | undefined> {
  if (!originIsWellFormed(origin)) return undefined
  for (const { real, stat } of candidates) {
    if (!real.layer.trustsOrigins) continue
    const encoded = await encodeOrigin(sb, real)
    if (!encoded || !isSameOrigin(encoded, origin)) continue
    if (!keepsIdentities(real.layer)) return { layer: real.layer, stat }
    return { layer: real.layer, stat, ...(await marksAt(sb, real)) }
  }
  if (!sb.privileged) return undefined
  const uuid = origin.subarray(5, HEADER_BYTES)
  for (const layer of [...sb.lowers, ...sb.dataLayers]) {
    if (!layer.trustsOrigins || !(isSame(layer.fsUuid, uuid) || isOldOfBtrfs(origin))) continue
    const found = await findByHandle(sb, layer, origin)
    if (found) return found
  }
  return undefined
}

/** The marks that lead to the identity of an object in a layer that was the upper. */
async function marksAt(sb: SuperBlock, { parent, name }: Real): Promise<Pick<Origin, 'origin' | 'identity'>> {
  const { descriptors, overlayXattrs, xattrStore } = sb
  const fd = await descriptors.of(parent as Real)
  return {
    origin: await xattrStore.get(fd, name, overlayXattrs.origin),
    identity: await xattrStore.get(fd, name, overlayXattrs.identity),
  }
}

async function findByHandle(sb: SuperBlock, layer: Layer, origin: Uint8Array): Promise<Origin | undefined> {
  try {
    const rootFd = await sb.descriptors.of(layer.root)
    const fd = await openByHandle(rootFd, origin[4] as number, origin.subarray(HEADER_BYTES), O_PATH)
    try {
      const stat = withTrueLinks(statxFd(fd))
      return isOnDevice(rootFd, stat) ? { layer, stat } : undefined
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (isErrno(error)) return undefined
    throw error
  }
}

/** Whether two origins identify the same object. */
function isSameOrigin(encoded: Uint8Array, origin: Uint8Array): boolean {
  return isSame(isOldOfBtrfs(origin) ? (formerOrigin(encoded) ?? encoded) : encoded, origin)
}

/** The origin of an object on btrfs as encoded by earlier versions, which did not know its UUID; undefined for other file systems. */
export function formerOrigin(origin: Uint8Array): Uint8Array | undefined {
  if (!BTRFS_HANDLES.has(origin[4] as number)) return undefined
  return new Uint8Array(origin).fill(0, 5, HEADER_BYTES)
}

function isOldOfBtrfs(origin: Uint8Array): boolean {
  return BTRFS_HANDLES.has(origin[4] as number) && isNull(origin.subarray(5, HEADER_BYTES))
}

/** Whether the object is in the same subvolume. */
function isOnDevice(rootFd: number, { devMajor, devMinor }: Stat): boolean {
  const stat = statxFd(rootFd)
  return stat.devMajor === devMajor && stat.devMinor === devMinor
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** Whether the UUID is all zeros, as for a file system without one. */
function isNull(uuid: Uint8Array): boolean {
  return uuid.every((byte) => byte === 0)
}

/** Whether the bytes are an encoded origin of this machine. */
export function originIsWellFormed(origin: Uint8Array): boolean {
  if (origin.length <= HEADER_BYTES || origin[0] !== 0 || origin[1] !== MAGIC || origin[2] !== origin.length)
    return false
  const flags = origin[3] as number
  return (flags & ANY_ENDIAN) !== 0 || (flags & BIG_ENDIAN) !== OTHER_ENDIAN
}
