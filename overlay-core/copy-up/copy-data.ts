import { isErrno, OverlayError } from '../api/errno.ts'
import type { Layer } from '../layer/layer.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { truncateFd } from '../sys/attr.ts'
import { copyFileRange, pread, pwrite, reflink, seekData, seekHole } from '../sys/data.ts'
import type { Stat } from '../sys/stat.ts'
import { FlushBehind } from './flush-behind.ts'

/** The number of bytes per copy call, small enough that a pool thread is soon free for others. */
const COPY_CHUNK_BYTES = 8 * 1024 * 1024

/** Files up to this size share their blocks so fast that it may be awaited under the lock of the object. */
export const QUICK_SHARE_BYTES = 64 * 1024 * 1024
/** This many bytes are copied in less than a millisecond. */
const QUICK_COPY_BYTES = 1024 * 1024

/** How data is copied: by one short call, or `long`, by `copyData`. */
export type DataWay = 'none' | 'share' | 'copy' | 'long'

/** Layers with files whose file system cannot share blocks with the upper. */
const neverShare = new WeakSet<Layer>()

/** Records that nothing in `layer` shares blocks with the upper. */
export function noteNoSharing(layer: Layer): void {
  neverShare.add(layer)
}

/** How to copy the data of the file `stat` of `layer` to the upper. */
export function wayOf(sb: SuperBlock, layer: Layer, { size, blocks }: Stat): DataWay {
  if (size === 0) return 'none'
  if (layer.fsIndex === sb.upper?.fsIndex && !neverShare.has(layer)) return 'share'
  // Copying the whole file would fill holes with blocks.
  return size <= QUICK_COPY_BYTES && blocks * 512 >= size ? 'copy' : 'long'
}

/**
 * Whether a copy must be synced before it gets its name: as in the kernel, copied data must, and with fsync=strict everything. Shared
 * blocks are on disk already; if the file system orders its journal, the name cannot become durable before them.
 */
export function syncsCopy({ options, upper }: SuperBlock, sizeBytes: number, shared: boolean): boolean {
  if (options.volatile) return false
  if (options.fsync === 'strict') return true
  return sizeBytes > 0 && !(shared && upper?.sharesInOrder === true)
}

/**
 * Copies `sizeBytes` of data: by sharing blocks if possible (returns true), otherwise in the kernel, otherwise in chunks; holes stay holes. `needWanted`
 * is called between chunks and may throw to abort. With `toDisk` an fsync will follow, so large files are written out meanwhile.
 */
export async function copyData(
  from: number,
  to: number,
  sizeBytes: number,
  toDisk: boolean,
  needWanted: () => void,
): Promise<boolean> {
  if (sizeBytes === 0) return true
  if (await reflink(to, from)) return true
  await copyExtents(from, to, sizeBytes, toDisk, needWanted)
  return false
}

/** Like `copyData`, for files that cannot share blocks. */
export async function copyExtents(
  from: number,
  to: number,
  sizeBytes: number,
  toDisk: boolean,
  needWanted: () => void,
): Promise<void> {
  await truncateFd(to, sizeBytes)
  const trail = toDisk && FlushBehind.suits(sizeBytes) ? new FlushBehind(to) : undefined
  try {
    await copyEach(from, to, sizeBytes, needWanted, trail)
  } finally {
    await trail?.end()
  }
}

async function copyEach(
  from: number,
  to: number,
  sizeBytes: number,
  needWanted: () => void,
  trail: FlushBehind | undefined,
): Promise<void> {
  let position = 0
  while (position < sizeBytes) {
    const start = await seekData(from, position)
    if (start < 0) return
    const hole = await seekHole(from, start)
    const end = hole < 0 ? sizeBytes : Math.min(hole, sizeBytes)
    await copyExtent(from, to, start, end, needWanted, trail)
    position = Math.max(end, start + 1)
  }
}

/** Overwrites `to` with the `sizeBytes` bytes of `from`, holes as zeros, and truncates it to that size. */
export async function copyInPlace(from: number, to: number, sizeBytes: number): Promise<void> {
  if (sizeBytes > 0 && !(await reflink(to, from))) await copyExtent(from, to, 0, sizeBytes, () => undefined)
  await truncateFd(to, sizeBytes)
}

async function copyExtent(
  from: number,
  to: number,
  start: number,
  end: number,
  needWanted: () => void,
  trail?: FlushBehind,
): Promise<void> {
  let position = start
  while (position < end) {
    needWanted()
    const length = Math.min(COPY_CHUNK_BYTES, end - position)
    const copied = await copyChunk(from, to, position, length)
    // The lower became shorter meanwhile: the missing part reads as zeros.
    if (copied === 0) return
    await trail?.follow(position, copied)
    position += copied
  }
}

async function copyChunk(from: number, to: number, position: number, length: number): Promise<number> {
  try {
    const copied = await copyFileRange(from, position, to, position, length)
    if (copied > 0) return copied
  } catch (error) {
    if (!isErrno(error, 'EXDEV', 'EINVAL', 'EOPNOTSUPP', 'ENOSYS')) throw error
  }
  const buffer = Buffer.allocUnsafe(Math.min(length, 1024 * 1024))
  const read = await pread(from, buffer, 0, buffer.length, position)
  if (read > 0) await pwrite(to, buffer.subarray(0, read), position)
  return read
}

/** Aborts a copy that nobody can reach any more. @throws ESTALE */
export function needWanted(inode: OvlInode): void {
  if (inode.unlinked) throw new OverlayError('ESTALE', 'copy-up')
}
