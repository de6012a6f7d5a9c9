import { OverlayError } from '../../../overlay-core/index.ts'

const BLOCK_BYTES = 256 * 1024
/** The memory limit for the directories of all archives in progress. */
const MOST_BYTES = 160 * 1024 * 1024
/** The memory limit for the directory of one archive. */
const MOST_OF_ONE = 80 * 1024 * 1024

/** The present size of all directories in bytes. */
let takenBytes = 0

/**
 * The directory of a zip archive until it is written at the end. Entries are stored contiguously in blocks, so that an entry takes
 * no more memory than its bytes. All archives share a limit.
 */
export class ZipDirectory {
  #blocks: Buffer[] = []
  /** The number of used bytes in the last block. */
  #used = 0
  #bytes = 0
  count = 0

  /** Reserves space for an entry of `bytes` bytes, which the caller must write at once. @throws EFBIG the directory would become too large */
  next(bytes: number): Buffer {
    let block = this.#blocks.at(-1)
    if (block === undefined || this.#used + bytes > block.length) {
      const size = Math.max(bytes, BLOCK_BYTES)
      if (takenBytes + size > MOST_BYTES || this.#bytes + size > MOST_OF_ONE) throw new OverlayError('EFBIG', 'archive')
      if (block !== undefined) this.#blocks[this.#blocks.length - 1] = block.subarray(0, this.#used)
      // Not from Node's pool, in which small slices keep large blocks alive.
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

  /** Releases the memory. */
  close(): void {
    takenBytes -= this.#bytes
    this.#bytes = 0
    this.#blocks = []
    this.#used = 0
  }
}
