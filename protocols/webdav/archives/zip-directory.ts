import { OverlayError } from '../../../overlay-core/index.ts'

const BLOCK_BYTES = 256 * 1024
/** What the directories of all archives under way may take. */
const MOST_BYTES = 160 * 1024 * 1024
/** What that of one archive may take. */
const MOST_OF_ONE = 80 * 1024 * 1024

/** Bytes that all directories take now. */
let takenBytes = 0

/**
 * The directory of a zip archive until it is written at the end: its entries one after the other in blocks of their own, so that an entry takes
 * no more memory than its bytes. All archives together have a bound.
 */
export class ZipDirectory {
  #blocks: Buffer[] = []
  /** Bytes used of the last block. */
  #used = 0
  #bytes = 0
  count = 0

  /** Room for one more entry of `bytes` bytes, which it is to be written into at once. @throws EFBIG the directory would grow too large */
  next(bytes: number): Buffer {
    let block = this.#blocks.at(-1)
    if (block === undefined || this.#used + bytes > block.length) {
      const size = Math.max(bytes, BLOCK_BYTES)
      if (takenBytes + size > MOST_BYTES || this.#bytes + size > MOST_OF_ONE) throw new OverlayError('EFBIG', 'archive')
      if (block !== undefined) this.#blocks[this.#blocks.length - 1] = block.subarray(0, this.#used)
      // Not from the pool of Node, where small pieces keep large ones alive.
      block = Buffer.allocUnsafeSlow(size)
      this.#blocks.push(block)
      takenBytes += size
      this.#bytes += size
      this.#used = 0
    }
    const entry = block.subarray(this.#used, this.#used + bytes)
    this.#used += bytes
    this.count++
    return entry
  }

  /** All entries, in blocks. */
  *blocks(): Generator<Buffer> {
    for (const [i, block] of this.#blocks.entries()) {
      yield i === this.#blocks.length - 1 ? block.subarray(0, this.#used) : block
    }
  }

  /** Lets go of the memory. */
  close(): void {
    takenBytes -= this.#bytes
    this.#bytes = 0
    this.#blocks = []
    this.#used = 0
  }
}
