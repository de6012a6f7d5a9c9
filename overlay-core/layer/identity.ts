import { createHash } from 'node:crypto'
import type { Stat } from '../sys/stat.ts'
import type { Layer } from './layer.ts'

/** Keys contain inode numbers below this unchanged; the number of the file system goes above. */
const FS_STEP = 2 ** 48

const NAME_IDENTITY_BYTES = 12
const LOWER_IDENTITY_BYTES = 24

/** The identity of an object of the overlay; see `Inode.key`. */
export interface Identity {
  readonly key: number
  readonly generation: number
  readonly fileIdHi: number
  readonly fileIdLo: number
}

/**
 * The identity of the object with attributes `stat` on the file system of `layer`. It consists of file system and inode number (of the original lower
 * object for a copy), so it is the same after a restart. The generation comes from the creation time, because file
 * systems reuse inode numbers.
 */
export function identityOf(layer: Layer, stat: Stat): Identity {
  return { key: keyOf(layer, stat), generation: generationOf(stat), ...fileId(layer, stat) }
}

/** The key of the object with this inode number on the file system of `layer`. */
export function keyOf({ fsIndex }: Pick<Layer, 'fsIndex'>, { inoHi, inoLo }: { inoHi: number; inoLo: number }): number {
  const fits = inoHi < 0x10000 && fsIndex < 16
  return fits ? fsIndex * FS_STEP + inoHi * 2 ** 32 + inoLo : keyFor(`i${fsIndex}:${inoHi}:${inoLo}`)
}

/** The number of the file system in a key of `keyOf`; undefined if the key does not contain it. */
export function fileSystemOfKey(key: number): number | undefined {
  return key < 16 * FS_STEP ? Math.floor(key / FS_STEP) : undefined
}

/**
 * The identity of one name of a lower hard link that copy-up will separate (index=off): it has its own file id, because the other names will
 * continue to have the lower's data.
 */
export function identityOfName(layer: Layer, stat: Stat, dirKey: number, name: string): Identity {
  return withOwnFileId(keyFor(`n${dirKey}/${name}`), (generationOf(stat) ^ layer.salt) >>> 0)
}

/** Encodes an identity of `identityOfName` for the mark that keeps it on the copy: key and generation, little endian. */
export function encodeIdentity({ key, generation }: { key: number; generation: number }): Uint8Array {
  const out = Buffer.alloc(NAME_IDENTITY_BYTES)
  out.writeDoubleLE(key)
  out.writeUInt32LE(generation, 8)
  return out
}

/** Encodes the identity of a lower object, with file id and link count, for a copy whose origin cannot be followed back to it. */
export function encodeLowerIdentity({ key, generation, fileIdHi, fileIdLo }: Identity, nlink: number): Uint8Array {
  const out = Buffer.alloc(LOWER_IDENTITY_BYTES)
  out.set(encodeIdentity({ key, generation }))
  out.writeUInt32LE(fileIdHi, 12)
  out.writeUInt32LE(fileIdLo, 16)
  out.writeUInt32LE(nlink, 20)
  return out
}

/** Decodes a value of `encodeIdentity` or `encodeLowerIdentity` (then with `lowerNlink`); undefined if it is neither. */
export function decodeIdentity(bytes: Uint8Array): (Identity & { readonly lowerNlink?: number }) | undefined {
  const view = Buffer.from(bytes)
  if (bytes.length !== NAME_IDENTITY_BYTES && bytes.length !== LOWER_IDENTITY_BYTES) return undefined
  const key = view.readDoubleLE()
  const generation = view.readUInt32LE(8)
  if (!Number.isSafeInteger(key) || key <= 0) return undefined
  if (bytes.length === NAME_IDENTITY_BYTES) return key < 2 ** 52 ? undefined : withOwnFileId(key, generation)
  const [fileIdHi, fileIdLo] = [view.readUInt32LE(12), view.readUInt32LE(16)]
  return { key, generation, fileIdHi, fileIdLo, lowerNlink: view.readUInt32LE(20) }
}

function withOwnFileId(key: number, generation: number): Identity {
  return { key, generation, fileIdHi: Math.floor(key / 2 ** 32), fileIdLo: key >>> 0 }
}

/** Whether an object is identified by its name (`identityOfName`) and not by its inode number, which would give `key`. */
export function isNameKey(inode: { readonly key: number }, key: number): boolean {
  return inode.key !== key && inode.key >= 2 ** 52
}

/** A key above all keys that come from inode numbers; the same text has the same key in every process. */
function keyFor(text: string): number {
  const hash = createHash('sha256').update(text, 'latin1').digest()
  return 2 ** 52 + hash.readUInt32LE(0) * 2 ** 20 + (hash.readUInt32LE(4) >>> 12)
}

/** The file id: the real inode number, with the number of the file system in the top 8 bits if they are free (xino). */
export function fileId(layer: Layer, stat: { inoHi: number; inoLo: number }): { fileIdHi: number; fileIdLo: number } {
  const hi = stat.inoHi < 0x1000000 ? stat.inoHi + layer.fsIndex * 0x1000000 : stat.inoHi
  return { fileIdHi: hi >>> 0, fileIdLo: stat.inoLo }
}

/** The key of the object with this file id (`fileId`), whose inode number has 53 bits at most. */
export function keyOfFileId(fileIdHi: number, fileIdLo: number): number {
  const fsIndex = Math.floor(fileIdHi / 0x1000000)
  return keyOf({ fsIndex }, { inoHi: fileIdHi & 0xffffff, inoLo: fileIdLo })
}

function generationOf(stat: Stat): number {
  if (stat.generation !== undefined) return stat.generation
  if (!stat.btime) return 1
  return (Math.imul(stat.btime.sec | 0, 0x9e3779b1) ^ stat.btime.nsec) >>> 0
}
