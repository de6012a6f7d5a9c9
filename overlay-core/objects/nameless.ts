import type { Descriptors } from '../layer/descriptors.ts'
import { Real } from '../layer/layer.ts'
import { type KernelHandle, nameToHandle } from '../sys/handle.ts'
import type { OvlInode } from './dentry.ts'
import type { SuperBlock } from './superblock.ts'

/** The maximum number of objects without a known name that are held by a descriptor. */
const MOST_HELD = 1024

/**
 * Upper objects whose known names were all removed, while they have other names on disk that nobody has looked up (hard links). A descriptor holds
 * each until one of its names is found again or the last one is removed. The number is limited: the objects held longest lose their descriptors first,
 * and are then reached by the file system's handle, or not at all if the server may not use it.
 */
export class NamelessObjects {
  readonly #descriptors: Descriptors
  readonly #held = new Set<OvlInode>()

  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors
  }

  /** Adds `inode`, whose upper object has no parent and an open descriptor. */
  hold(inode: OvlInode): void {
    this.#held.add(inode)
    for (const oldest of this.#held) {
      if (this.#held.size <= MOST_HELD) return
      this.release(oldest)
    }
  }

  /** Closes the descriptor of `inode`, because a name is known again or none is left. */
  release(inode: OvlInode): void {
    if (!this.#held.delete(inode)) return
    if (inode.upper && !inode.upper.parent) this.#descriptors.drop(inode.upper)
  }
}

/** Whether `inode` has an upper object without a known name. */
export function isNameless({ upper }: OvlInode): boolean {
  return upper !== undefined && upper.parent === undefined
}

/**
 * Returns the upper object of `inode` in a form that needs no name, because its only known name is about to be removed. If attributes or inode numbers
 * are stored by name, that is not possible, and the result cannot be reached (ESTALE).
 */
export async function namelessReal(sb: SuperBlock, inode: OvlInode): Promise<Real> {
  const upper = inode.upper as Real
  const real = new Real(upper.layer, undefined, '', upper.ino)
  if (sb.xattrStore.byName || upper.layer.inodeNumbers) return real
  const fd = await sb.descriptors.openObject(upper)
  if (fd < 0) return real
  sb.descriptors.adopt(real, fd)
  if (sb.privileged) real.kernelHandle = await nameToHandle(fd, '')
  return real
}

/** Records that the upper object of `inode` is at `real` from now on. */
export function takePlace(sb: SuperBlock, inode: OvlInode, real: Real): void {
  sb.nameless.release(inode)
  real.redirect = inode.upper?.redirect
  real.plain = inode.upper?.plain === true
  inode.upper = real
  if (real.parent) return
  if (real.fd >= 0) sb.nameless.hold(inode)
  // Its record leads nowhere. When another of its names is found, it is recorded again.
  if (real.kernelHandle === undefined) inode.retained = false
}

/** The record of an object without a known name, for handles: its kernel handle, and what else is needed to recreate its inode. */
export interface NamelessRecord {
  readonly fileIdHi: number
  readonly fileIdLo: number
  readonly type: number
  readonly lowerNlink: number
  readonly kernelHandle: KernelHandle
}

/** A prefix that no name can have. */
const MARK = '/'
const FIXED_BYTES = 16

/** Encodes the record for the field of the name. */
export function encodeNameless({ fileIdHi, fileIdLo, type, lowerNlink, kernelHandle }: NamelessRecord): string {
  const bytes = Buffer.alloc(FIXED_BYTES + kernelHandle.bytes.length)
  bytes.writeUInt32LE(fileIdHi, 0)
  bytes.writeUInt32LE(fileIdLo, 4)
  bytes.writeUInt32LE(lowerNlink, 8)
  bytes.writeUInt16LE(type, 12)
  bytes.writeUInt16LE(kernelHandle.type, 14)
  bytes.set(kernelHandle.bytes, FIXED_BYTES)
  return MARK + bytes.toString('latin1')
}

/** Decodes a value of `encodeNameless`; undefined if `name` is a name. */
export function decodeNameless(name: string): NamelessRecord | undefined {
  if (!name.startsWith(MARK) || name.length <= MARK.length + FIXED_BYTES) return undefined
  const bytes = Buffer.from(name.slice(MARK.length), 'latin1')
  return {
    fileIdHi: bytes.readUInt32LE(0),
    fileIdLo: bytes.readUInt32LE(4),
    lowerNlink: bytes.readUInt32LE(8),
    type: bytes.readUInt16LE(12),
    kernelHandle: { type: bytes.readUInt16LE(14), bytes: new Uint8Array(bytes.subarray(FIXED_BYTES)) },
  }
}
