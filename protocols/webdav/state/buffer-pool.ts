/** The size of a large buffer. */
const LARGE_BYTES = 512 * 1024
const SMALL_BYTES = 64 * 1024
/** The size of a buffer for a short body and its header. */
const SHORT_BYTES = SMALL_BYTES + 1024
const KEPT = 12
const SMALL_KEPT = 16
const ZEROS = Buffer.alloc(LARGE_BYTES)

/** Whether the first `length` bytes of a buffer are all zero, as in a hole. */
export function isZero(buffer: Buffer, length: number): boolean {
  return ZEROS.compare(buffer, 0, length, 0, length) === 0
}

/** Returns `length` zeros, at most the size of the largest buffer. Callers must not write to them. */
export function zeros(length: number): Buffer {
  return ZEROS.subarray(0, length)
}

/**
 * Lends buffers to streams of file data: 512 KiB each while few are out, 64 KiB when many are, so that a thousand slow clients
 * hold little memory and one fast client gets large pieces.
 */
export class BufferPool {
  readonly #free: Buffer[] = []
  readonly #freeSmall: Buffer[] = []
  readonly #largeAtOnce: number
  #large = 0

  /** @param largeAtOnce how many 512 KiB buffers may be out at a time */
  constructor(largeAtOnce = 48) {
    this.#largeAtOnce = largeAtOnce
  }

  /** True while so many buffers are out that each stream should use only one. */
  get crowded(): boolean {
    return this.#large >= this.#largeAtOnce
  }

  /** Returns a buffer of 512 KiB or 64 KiB with arbitrary content. Give it back with `release` once nothing refers to it. */
  take(): Buffer {
    if (this.#large >= this.#largeAtOnce) return Buffer.allocUnsafeSlow(SMALL_BYTES)
    this.#large++
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
  }

  /** Takes a buffer back. Use `forget` instead for a buffer that a socket may still read. */
  release(buffer: Buffer): void {
    if (buffer.length !== LARGE_BYTES) return
    this.#large--
    if (this.#free.length < KEPT) this.#free.push(buffer)
  }

  /** Returns a buffer of 65 KiB for a short body and its header. Give it back with `releaseSmall`, or drop it if a socket may still read it. */
  takeSmall(): Buffer {
    return this.#freeSmall.pop() ?? Buffer.allocUnsafeSlow(SHORT_BYTES)
  }

  /** Takes a buffer from `takeSmall` back. The latest one is lent first, because it is in the processor's cache. */
  releaseSmall(buffer: Buffer): void {
    if (this.#freeSmall.length < SMALL_KEPT) this.#freeSmall.push(buffer)
  }

  /** Ends a loan without reusing the memory. */
  forget(buffer: Buffer): void {
    if (buffer.length === LARGE_BYTES) this.#large--
  }
}
