import { writeOut } from '../sys/data.ts'

/** A smaller file goes to the disk as a whole in the end, which is soon done. */
const SMALL_BYTES = 64 * 1024 * 1024
/** How much is under way to the disk: what others want of it waits no longer than that takes, some milliseconds. */
const PIECE_BYTES = 1024 * 1024

/**
 * Lets what was copied of a large file go to the disk as the copy proceeds, in small pieces: a single fsync in the end would fill the disk's queue
 * for seconds, and the journal, for which changes of names wait, would have to queue behind it.
 */
export class FlushBehind {
  readonly #fd: number
  #chunk: Promise<void> = Promise.resolve()

  /** @param fd of the copy; stays open until `end` */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** Whether a copy of this size should leave one. */
  static suits(sizeBytes: number): boolean {
    return sizeBytes > SMALL_BYTES
  }

  /** Takes a chunk that was copied; resolves when the one before it is on the disk. @throws ENOSPC | EDQUOT | EIO of that one */
  async follow(position: number, length: number): Promise<void> {
    await this.#chunk
    this.#chunk = this.#write(position, length)
    // Heard of at the next chunk or at the end.
    this.#chunk.catch(() => undefined)
  }

  /** Resolves when all is on the disk; an fsync has still to follow. @throws as `follow` */
  async end(): Promise<void> {
    await this.#chunk
  }

  async #write(position: number, length: number): Promise<void> {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      await writeOut(this.#fd, position + at, Math.min(PIECE_BYTES, length - at))
    }
  }
}
