import { type FairTurns, type Inode, loopBudget, type OpenFile } from '../../../overlay-core/index.ts'
import { isZero, zeros } from './buffer-pool.ts'
import type { Summer, Sums } from './checksums.ts'
import type { DavContext, DavServices, DavView } from './context.ts'

/** The number of bytes hashed in one turn of the event loop; takes about a millisecond. */
const SLICE_BYTES = 256 * 1024
/** The number of bytes hashed per fair turn. */
const PIECE_BYTES = 4 * SLICE_BYTES

/** The file whose sums are wanted. */
export interface SummedFile {
  readonly view: DavView
  readonly inode: Inode
}

/**
 * The checksums of one file, shared by all concurrent requests for them. Reads the file in pieces, each in its own turn; between two pieces it holds
 * only the state of the hashes. Holes are not read. Stops when nobody waits any more, or after a time limit.
 */
export class FileSum {
  /** Undefined if it took too long or nobody waits. */
  readonly sums: Promise<Sums | undefined>
  readonly #services: DavServices
  readonly #file: SummedFile
  readonly #summer: Summer
  readonly #waiting = new Set<DavContext>()
  #at = 0
  /** There is only a hole up to this offset. */
  #dataAt = 0
  #ended = false

  constructor(ctx: DavContext, file: SummedFile, summer: Summer, turns: FairTurns) {
    this.#services = ctx.services
    this.#file = file
    this.#summer = summer
    this.#waiting.add(ctx)
    this.sums = this.#run(turns, ctx.req.socket.remoteAddress ?? '')
  }

  /** Adds a waiting request. */
  join(ctx: DavContext): void {
    this.#waiting.add(ctx)
  }

  async #run(turns: FairTurns, client: string): Promise<Sums | undefined> {
    const { lockNow, limits } = this.#services
    const startMs = lockNow()
    while (!this.#ended) {
      if (!this.#isWanted() || lockNow() - startMs > limits.checksumMs) return undefined
      await turns.run(client, () => this.#piece())
    }
    return this.#summer.end()
  }

  #isWanted(): boolean {
    for (const ctx of this.#waiting) if (ctx.res.destroyed) this.#waiting.delete(ctx)
    return this.#waiting.size > 0
  }

  async #piece(): Promise<void> {
    if (!this.#isWanted()) return
    const { view, inode } = this.#file
    const file = await view.overlay.open(view.cred, inode, { read: true })
    const buffer = this.#services.buffers.take()
    try {
      const end = this.#at + PIECE_BYTES
      while (this.#at < end && !this.#ended) {
        await this.#slice(file, buffer)
        await loopBudget.rest()
      }
    } finally {
      this.#services.buffers.release(buffer)
      file.close()
    }
  }

  async #slice(file: OpenFile, buffer: Buffer): Promise<void> {
    const length = Math.min(SLICE_BYTES, buffer.length)
    const hole = Math.min(this.#dataAt - this.#at, length)
    if (hole > 0) {
      this.#summer.add(zeros(hole))
      this.#at += hole
      return
    }
    const read = await file.read(buffer, 0, length, this.#at)
    this.#ended = read === 0
    this.#summer.add(buffer.subarray(0, read))
    this.#at += read
    if (read > 0 && isZero(buffer, read)) this.#dataAt = await file.nextData(this.#at)
  }
}
