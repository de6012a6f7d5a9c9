import type { OpenFile } from '../../overlay-core/index.ts'
import type { DavContext } from './context.ts'
import { writeOut } from './reply.ts'

/** The file became shorter while it was sent: the announced length cannot be kept. */
export class FileShrank extends Error {
  constructor() {
    super('the file shrank while it was sent')
    this.name = 'FileShrank'
  }
}

/**
 * Sends `length` bytes of `file` from `position` on as part of a body: two buffers take turns, one is filled while the other is
 * written, and the client's pace holds the reading back.
 *
 * @throws ClientGone · FileShrank · EIO
 */
export async function streamFile(ctx: DavContext, file: OpenFile, position: number, length: number): Promise<void> {
  const { buffers, counters } = ctx.services
  let front = buffers.take()
  let back = buffers.take()
  let writing: Promise<void> | undefined
  let settled = false
  try {
    const end = position + length
    for (let at = position; at < end; ) {
      const reading = file.read(front, 0, Math.min(front.length, end - at), at)
      const read = reading instanceof Promise ? await reading : reading
      if (read === 0) throw new FileShrank()
      await writing
      writing = writeOut(ctx.res, front.subarray(0, read))
      // It is awaited a turn later, when the next piece has been read; until then its failure is not an unhandled one.
      writing.catch(noted)
      counters.bytesOut += read
      at += read
      ;[front, back] = [back, front]
    }
    await writing
    settled = true
  } finally {
    for (const buffer of [front, back]) {
      if (settled) buffers.release(buffer)
      else buffers.forget(buffer)
    }
  }
}

function noted(): undefined {
  return undefined
}
