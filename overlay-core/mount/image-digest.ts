import { createHash, type Hash } from 'node:crypto'
import { BlockDevice } from '../sys/block-device.ts'

/** Magic numbers (statfs(2)). */
const SQUASHFS = 0x73717368
const EROFS = 0xe0f5e1e2
const ISO9660 = 0x9660
const EXT4 = 0xef53

/** Read-only file systems, whose images are recognized by their content. */
export const IMAGES: ReadonlySet<number> = new Set([SQUASHFS, EROFS, ISO9660])

const MIB = 1024 * 1024
/** Images up to this size are read completely; of larger ones the start, the end and samples in between, which contain the tables of the files. */
const WHOLE_BYTES = 32 * MIB
const BEGIN_BYTES = 8 * MIB
const END_BYTES = 16 * MIB
const PLACES = 2048
const PLACE_BYTES = 4096
const STEP_BYTES = MIB

/**
 * Distinguishes a file system on a disk from others with the same UUID, such as copies, or images made with the same options: an image by its
 * content, ext4 by its creation time and hash seed. Undefined for other file systems, or if this process may not read the disk.
 */
export async function markOnDisk(type: number, major: number, minor: number): Promise<string | undefined> {
  if (!IMAGES.has(type) && type !== EXT4) return undefined
  const device = await BlockDevice.open(major, minor)
  if (!device) return undefined
  try {
    if (type === EXT4) return await markOfExt4(device)
    const size = await imageBytes(type, device)
    return size === undefined ? undefined : `image:${await digestOf(device, size)}`
  } finally {
    await device.close()
  }
}

/** Built from `s_mkfs_time` and `s_hash_seed`. */
async function markOfExt4(device: BlockDevice): Promise<string | undefined> {
  const block = Buffer.from(await device.read(1024, 1024))
  if (block.length < 1024 || block.readUInt16LE(0x38) !== EXT4) return undefined
  return `made:${block.readUInt32LE(0x108)}:${block.toString('hex', 0xec, 0xec + 16)}`
}

/** The length of the image according to its superblock. */
async function imageBytes(type: number, device: BlockDevice): Promise<number | undefined> {
  if (type === SQUASHFS) {
    const block = Buffer.from(await device.read(0, 96))
    return block.length === 96 && block.readUInt32LE(0) === SQUASHFS ? Number(block.readBigUInt64LE(40)) : undefined
  }
  if (type === EROFS) {
    const block = Buffer.from(await device.read(1024, 128))
    if (block.length < 128 || block.readUInt32LE(0) !== EROFS) return undefined
    return block.readUInt32LE(36) * 2 ** block.readUInt8(12)
  }
  const block = Buffer.from(await device.read(32768, 2048))
  if (block.length < 2048 || block.toString('latin1', 1, 6) !== 'CD001') return undefined
  return block.readUInt32LE(80) * block.readUInt16LE(128)
}

async function digestOf(device: BlockDevice, size: number): Promise<string> {
  const hash = createHash('sha256').update(`${size}:`)
  if (size <= WHOLE_BYTES) {
    await addRange(hash, device, 0, size)
  } else {
    await addRange(hash, device, 0, BEGIN_BYTES)
    const between = size - BEGIN_BYTES - END_BYTES
    for (let i = 0; i < PLACES; i++) {
      const at = BEGIN_BYTES + Math.floor((between / PLACES) * i)
      hash.update(await device.read(at, PLACE_BYTES))
    }
    await addRange(hash, device, size - END_BYTES, END_BYTES)
  }
  return hash.digest('hex')
}

/** Reads and hashes in small pieces, because hashing blocks the event loop. */
async function addRange(hash: Hash, device: BlockDevice, from: number, length: number): Promise<void> {
  for (let at = from; at < from + length; at += STEP_BYTES) {
    hash.update(await device.read(at, Math.min(STEP_BYTES, from + length - at)))
  }
}
