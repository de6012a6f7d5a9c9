import type { OpenFile } from '../../../overlay-core/index.ts'
import type { BufferPool } from '../state/buffer-pool.ts'
import type { DavContext } from '../state/context.ts'
import { hasMovedEnough, nextPiece } from './data-turns.ts'
import { writeOut } from './reply.ts'

/** The number of pieces of one stream in memory: one being sent, the others being read. */
const PIECES = 3

/** The file became shorter while it was sent, so the declared length is wrong. */
export class FileShrank extends Error {
  constructor() {
    super('the file shrank while it was being sent')
    this.name = 'FileShrank'
  }
}

/**
 * Sends `length` bytes of `file` from `position` as part of a body. While one piece is written, the next ones are read off the event loop,
 * and the client's pace limits the reads.
 *
 * @throws ClientGone · FileShrank · EIO
 */
export async function streamFile(ctx: DavContext, file: OpenFile, position: number, length: number): Promise<void> {
  const reader = new Reader(ctx.services.buffers, file, position, length)
  let sent = 0
  try {
    reader.start()
    while (sent < length) {
      const piece = await reader.next()
      if (hasMovedEnough(piece.length)) await new Promise<void>((resolve) => nextPiece(piece.length, resolve))
      await writeOut(ctx.res, piece)
      ctx.services.counters.bytesOut += piece.length
      sent += piece.length
      reader.giveBack()
    }
  } catch (error) {
    reader.giveUp()
    throw error
  } finally {
    await reader.end()
  }
}

/** A piece of the file that is being read. */
interface Piece {
  readonly buffer: Buffer
  readonly length: number
  readonly filled: Promise<void>
}

/** Reads a part of a file in order, a few pieces ahead. */
class Reader {
  readonly #pool: BufferPool
  readonly #file: OpenFile
  readonly #end: number
  #at: number
  /** The first piece is sent next, or is being sent. */
  readonly #pieces: Piece[] = []
  #buffers = 0
  #giveUp = false

  constructor(pool: BufferPool, file: OpenFile, position: number, length: number) {
    this.#pool = pool
    this.#file = file
    this.#at = position
    this.#end = position + length
  }

  start(): void {
    while (this.#at < this.#end && this.#buffers < (this.#pool.crowded ? 1 : PIECES)) {
      this.#buffers++
      this.#read(this.#pool.take())
    }
  }

  /** Returns the next piece once it is complete. */
  async next(): Promise<Buffer> {
    const { buffer, length, filled } = this.#pieces[0] as Piece
    await filled
    return length === buffer.length ? buffer : buffer.subarray(0, length)
  }

  /** Reuses the buffer of the piece from `next`, which has been sent. */
  giveBack(): void {
    const { buffer } = this.#pieces.shift() as Piece
    if (this.#at < this.#end) this.#read(buffer)
    else this.#pool.release(buffer)
  }

  /** Abandons the buffer of the piece from `next`, which the socket may still hold. */
  giveUp(): void {
    this.#giveUp = true
  }

  /** Waits for running reads, then releases all buffers. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#pieces.map(({ filled }) => filled))
    for (const { buffer } of this.#pieces) {
      if (this.#giveUp) this.#pool.forget(buffer)
      else this.#pool.release(buffer)
    }
  }

  #read(buffer: Buffer): void {
    const length = Math.min(buffer.length, this.#end - this.#at)
    const filled = fill(this.#file, buffer, length, this.#at)
    // It is awaited later; until then its failure must not count as unhandled.
    filled.catch(noted)
    this.#pieces.push({ buffer, length, filled })
    this.#at += length
  }
}

async function fill(file: OpenFile, buffer: Buffer, length: number, position: number): Promise<void> {
  for (let done = 0; done < length; ) {
    const read = await file.readAside(buffer, done, length - done, position + done)
    if (read === 0) throw new FileShrank()
    done += read
  }
}

function noted(): undefined {
  return undefined
}
