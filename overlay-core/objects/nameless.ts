import type { Descriptors } from '../layer/descriptors.ts'
import { Real } from '../layer/layer.ts'
import { type KernelHandle, nameToHandle } from '../sys/handle.ts'
import type { OvlInode } from './dentry.ts'
import type { SuperBlock } from './superblock.ts'

/** How many objects without a known name are held by a descriptor. */
const MOST_HELD = 1024

/**
 * Upper objects of which all known names have gone while they have others on disk that nobody has looked up (hard links): they are held by a
 * descriptor until a name of theirs is found again or the last one goes. There is room for some; those held longest give theirs up first,
 * and are reached by the file system's own handle from then on, or not at all where the server may not use that.
 */
export class NamelessObjects {
  readonly #descriptors: Descriptors
  readonly #held = new Set<OvlInode>()

  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors
  }

  /** `inode`, whose upper object has no parent and an open descriptor, is one of them. */
  hold(inode: OvlInode): void {
    this.#held.add(inode)
    for (const oldest of this.#held) {
      if (this.#held.size <= MOST_HELD) return
      this.release(oldest)
    }
  }

  /** A name of `inode` is known again, or none is left: its descriptor is closed. */
  release(inode: OvlInode): void {
    if (!this.#held.delete(inode)) return
    if (inode.upper && !inode.upper.parent) this.#descriptors.drop(inode.upper)
  }
}

/** Whether `inode` has an upper object whose names nobody knows. */
export function isNameless({ upper }: OvlInode): boolean {
  return upper !== undefined && upper.parent === undefined
}

/**
 * Makes the upper object of `inode` known by itself, as its only known name is about to go. Where attributes or inode numbers are kept by
 * name there is no such thing: what this returns cannot be reached then (ESTALE).
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

/** The upper object of `inode` is found at `real` from now on. */
export function takePlace(sb: SuperBlock, inode: OvlInode, real: Real): void {
  sb.nameless.release(inode)
  real.redirect = inode.upper?.redirect
  real.plain = inode.upper?.plain === true
  inode.upper = real
  if (real.parent) return
  if (real.fd >= 0) sb.nameless.hold(inode)
  // What was noted of it leads nowhere: by the next name that is found it is noted again.
  if (real.kernelHandle === undefined) inode.retained = false
}

/** An object without a known name as it is noted for handles: what the file system calls it, and what else its inode is made of. */
export interface NamelessRecord {
  readonly fileIdHi: number
  readonly fileIdLo: number
  readonly type: number
  readonly lowerNlink: number
  readonly kernelHandle: KernelHandle
}

/** A prefix that no name has. */
const MARK = '/'
const FIXED_BYTES = 16

/** The record in the place of a name. */
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

/** What `encodeNameless` has made; undefined when `name` is a name. */
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
