import type { Overlay } from '../api/overlay-api.ts'
import type { Cred, Inode, OpenFile } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'

const PIECE_BYTES = 256 * 1024
/** Up to this size, what is in the page cache is read at once. */
const SMALL_BYTES = 64 * 1024

/** A file of an overlay. */
export interface FileIn {
  readonly overlay: Overlay
  readonly inode: Inode
}

/** Whether two files of `size` bytes contain the same. What is a hole in both is not read. @throws EACCES the caller may not read one of them */
export async function sameContent(cred: Cred, a: FileIn, b: FileIn, size: number): Promise<boolean> {
  const first = await a.overlay.open(cred, a.inode, { read: true })
  try {
    const second = await b.overlay.open(cred, b.inode, { read: true })
    try {
      return await sameData(first, second, size)
    } finally {
      second.close()
    }
  } finally {
    first.close()
  }
}

async function sameData(a: OpenFile, b: OpenFile, size: number): Promise<boolean> {
  const piece = Math.min(PIECE_BYTES, size)
  const [left, right] = [Buffer.allocUnsafe(piece), Buffer.allocUnsafe(piece)]
  for (let position = 0; position < size; ) {
    if (size > PIECE_BYTES) position = Math.min(await a.nextData(position), await b.nextData(position))
    if (position >= size) return true
    const [gotLeft, gotRight] = await Promise.all([fill(a, left, position), fill(b, right, position)])
    if (gotLeft !== gotRight || left.compare(right, 0, gotRight, 0, gotLeft) !== 0) return false
    // Both were cut meanwhile.
    if (gotLeft === 0) return true
    position += gotLeft
    if (loopBudget.spent) await loopBudget.rest()
  }
  return true
}

/** Reads until `buffer` is full or the file ends. Returns the number of bytes. */
async function fill(file: OpenFile, buffer: Buffer, position: number): Promise<number> {
  let done = 0
  while (done < buffer.length) {
    const [left, at] = [buffer.length - done, position + done]
    const got = await (left <= SMALL_BYTES ? file.read(buffer, done, left, at) : file.readAside(buffer, done, left, at))
    if (got === 0) break
    done += got
  }
  return done
}
