/**
 * A reference-counted block of memory: whoever took it from the pool holds one reference, and each other
 * user adds one with `retain`. The last `release` returns the block.
 */
export class Chunk {
  readonly bytes: Buffer
  readonly view: DataView
  #references = 0
  readonly #pool: ChunkPool

  constructor(pool: ChunkPool, size: number) {
    // A separate buffer, because slices of Node's shared 8 KiB slab would keep the slab alive, and are not aligned.
    this.bytes = Buffer.allocUnsafeSlow(size)
    this.view = new DataView(this.bytes.buffer)
    this.#pool = pool
  }

  /** Whether only the owner uses the block, so that its bytes may be moved or overwritten. */
  get exclusive(): boolean {
    return this.#references === 1
  }

  /** Adds a user. */
  retain(): void {
    this.#references++
  }

  /** Removes a user; after the last one the block belongs to the pool and must not be accessed. */
  release(): void {
    this.#references--
    if (this.#references === 0) this.#pool.put(this)
  }
}

/** Sizes in bytes, and the number of free blocks kept of each class. */
export interface ChunkPoolOptions {
  readonly smallBytes: number
  readonly largeBytes: number
  readonly keepSmall: number
  readonly keepLarge: number
  /** The bytes of large blocks in use at which the pool is `full`; no limit by default. */
  readonly mostLargeBytes?: number
}

/** A pool of blocks of two sizes, because fresh memory is slow (10 µs for 64 KiB). All connections share it. */
export class ChunkPool {
  readonly smallBytes: number
  readonly largeBytes: number
  readonly #keepSmall: number
  readonly #keepLarge: number
  readonly #small: Chunk[] = []
  readonly #large: Chunk[] = []
  readonly #mostLargeBytes: number
  /** The bytes of large blocks in use. */
  #largeBytesOut = 0
  /** The lowest numbers of free blocks since the last `trim`. */
  #leastSmall = 0
  #leastLarge = 0

  constructor(options: ChunkPoolOptions) {
    this.smallBytes = options.smallBytes
    this.largeBytes = options.largeBytes
    this.#keepSmall = options.keepSmall
    this.#keepLarge = options.keepLarge
    this.#mostLargeBytes = options.mostLargeBytes ?? Number.POSITIVE_INFINITY
  }

  /** Whether so many large blocks are in use that callers should use a small one or wait if they can. */
  get full(): boolean {
    return this.#largeBytesOut >= this.#mostLargeBytes
  }

  /** Releases the free blocks that have not been used since the last call. */
  trim(): void {
    this.#small.length -= Math.min(this.#leastSmall, this.#small.length)
    this.#large.length -= Math.min(this.#leastLarge, this.#large.length)
    this.#leastSmall = this.#small.length
    this.#leastLarge = this.#large.length
  }

  /** Returns a block of at least `size` bytes with one reference. Beyond the large class it is created for this use only. */
  take(size: number): Chunk {
    const chunk = this.#reuse(size) ?? new Chunk(this, this.#classSize(size))
    chunk.retain()
    if (chunk.bytes.length > this.smallBytes) this.#largeBytesOut += chunk.bytes.length
    return chunk
  }

  /** Takes back a block without users. */
  put(chunk: Chunk): void {
    const size = chunk.bytes.length
    if (size > this.smallBytes) this.#largeBytesOut -= size
    if (size === this.smallBytes && this.#small.length < this.#keepSmall) this.#small.push(chunk)
    else if (size === this.largeBytes && this.#large.length < this.#keepLarge) this.#large.push(chunk)
  }

  #reuse(size: number): Chunk | undefined {
    if (size <= this.smallBytes) {
      const chunk = this.#small.pop()
      if (this.#small.length < this.#leastSmall) this.#leastSmall = this.#small.length
      return chunk
    }
    if (size > this.largeBytes) return undefined
    const chunk = this.#large.pop()
    if (this.#large.length < this.#leastLarge) this.#leastLarge = this.#large.length
    return chunk
  }

  #classSize(size: number): number {
    if (size <= this.smallBytes) return this.smallBytes
    return Math.max(size, this.largeBytes)
  }
}
