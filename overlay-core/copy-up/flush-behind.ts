import { writeOut } from '../sys/data.ts'

/** Smaller files are synced at the end, which is fast. */
const SMALL_BYTES = 64 * 1024 * 1024
/** The amount of data written to the disk at a time, which delays other requests by a few milliseconds at most. */
const PIECE_BYTES = 1024 * 1024

/**
 * Writes a large file to the disk in small pieces while it is copied. A single fsync at the end would fill the disk's queue
 * for seconds, and the journal, for which changes of names wait, would queue behind it.
 */
export class FlushBehind {
  readonly #fd: number
  #chunk: Promise<void> = Promise.resolve()

  /** @param fd the descriptor of the copy; it stays open until `end` */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** Whether a copy of this size should be written out this way. */
  static suits(sizeBytes: number): boolean {
    return sizeBytes > SMALL_BYTES
  }

  /** Adds a copied chunk; resolves when the previous one is on the disk. @throws ENOSPC | EDQUOT | EIO of that one */
  async follow(position: number, length: number): Promise<void> {
    await this.#chunk
    this.#chunk = this.#write(position, length)
    // The error is reported at the next chunk or at the end.
    this.#chunk.catch(() => undefined)
  }

  /** Resolves when all chunks are on the disk; an fsync must still follow. @throws like `follow` */
  async end(): Promise<void> {
    await this.#chunk
  }

  async #write(position: number, length: number): Promise<void> {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      await writeOut(this.#fd, position + at, Math.min(PIECE_BYTES, length - at))
    }
  }
}
