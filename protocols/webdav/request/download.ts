import type { OpenFile } from '../../../overlay-core/index.ts'
import type { BufferPool } from '../state/buffer-pool.ts'
import type { DavContext } from '../state/context.ts'
import { writeOut } from './reply.ts'

/** Pieces of one stream in memory: one being sent, the others being read. */
const PIECES = 3

/** The file became shorter while it was sent: the announced length cannot be kept. */
export class FileShrank extends Error {
  constructor() {
    super('the file shrank while it was being sent')
    this.name = 'FileShrank'
  }
}

/**
 * Sends `length` bytes of `file` from `position` on as part of a body: while one piece is written the next ones are read beside the event loop,
 * and the client's pace holds the reading back.
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

/** A piece of the file on its way in. */
interface Piece {
  readonly buffer: Buffer
  readonly length: number
  readonly filled: Promise<void>
}

/** Reads a part of a file in order, some pieces ahead. */
class Reader {
  readonly #pool: BufferPool
  readonly #file: OpenFile
  readonly #end: number
  #at: number
  /** The first is the next to be sent, or is being sent. */
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
    while (this.#buffers < PIECES && this.#at < this.#end) {
      this.#buffers++
      this.#read(this.#pool.take())
    }
  }

  /** The next piece, once all of it is there. */
  async next(): Promise<Buffer> {
    const { buffer, length, filled } = this.#pieces[0] as Piece
    await filled
    return length === buffer.length ? buffer : buffer.subarray(0, length)
  }

  /** The piece that `next` gave has been sent: its buffer takes another one. */
  giveBack(): void {
    const { buffer } = this.#pieces.shift() as Piece
    if (this.#at < this.#end) this.#read(buffer)
    else this.#pool.release(buffer)
  }

  /** The socket may still hold what `next` gave last. */
  giveUp(): void {
    this.#giveUp = true
  }

  /** Waits for reads that run, then lets go of all buffers. */
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
    // It is awaited when its turn comes; until then its failure is not an unhandled one.
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
