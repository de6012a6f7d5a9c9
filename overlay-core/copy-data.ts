import { isErrno } from './errno.ts'
import { truncateFd } from './sys/attr.ts'
import { copyFileRange, pread, pwrite, reflink, seekData, seekHole } from './sys/data.ts'

/** How much one call copies: small enough that a pool thread is soon free for others. */
const COPY_CHUNK_BYTES = 8 * 1024 * 1024

/**
 * Copies `sizeBytes` of data: shared blocks where possible, else in the kernel, else by chunks; holes stay holes. `needWanted` is called
 * between the chunks and may throw to give up.
 */
export async function copyData(from: number, to: number, sizeBytes: number, needWanted: () => void): Promise<void> {
  if (sizeBytes === 0) return
  if (await reflink(to, from)) return
  await truncateFd(to, sizeBytes)
  let position = 0
  while (position < sizeBytes) {
    const start = await seekData(from, position)
    if (start < 0) return
    const hole = await seekHole(from, start)
    const end = hole < 0 ? sizeBytes : Math.min(hole, sizeBytes)
    await copyExtent(from, to, start, end, needWanted)
    position = Math.max(end, start + 1)
  }
}

async function copyExtent(from: number, to: number, start: number, end: number, needWanted: () => void): Promise<void> {
  let position = start
  while (position < end) {
    needWanted()
    const length = Math.min(COPY_CHUNK_BYTES, end - position)
    const copied = await copyChunk(from, to, position, length)
    // The lower became shorter underneath: what is missing reads as zeros.
    if (copied === 0) return
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
