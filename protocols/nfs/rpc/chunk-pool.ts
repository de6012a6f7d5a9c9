/**
 * A block of memory that several may use at once: the one who took it from the pool holds one reference, each further
 * user adds one with `retain`. The last `release` gives the block back.
 */
export class Chunk {
  readonly bytes: Buffer
  readonly view: DataView
  #references = 0
  readonly #pool: ChunkPool

  constructor(pool: ChunkPool, size: number) {
    // A buffer of its own: slices of Node's shared 8 KiB slab would keep that alive, and are not aligned.
    this.bytes = Buffer.allocUnsafeSlow(size)
    this.view = new DataView(this.bytes.buffer)
    this.#pool = pool
  }

  /** True when nobody but the owner uses the block: its bytes may be moved or written over. */
  get exclusive(): boolean {
    return this.#references === 1
  }

  /** Adds a user. */
  retain(): void {
    this.#references++
  }

  /** Ends a use; after the last one the block belongs to the pool and must not be touched. */
  release(): void {
    this.#references--
    if (this.#references === 0) this.#pool.put(this)
  }
}

/** Sizes in bytes, and how many free blocks of each class are kept. */
export interface ChunkPoolOptions {
  readonly smallBytes: number
  readonly largeBytes: number
  readonly keepSmall: number
  readonly keepLarge: number
  /** Bytes of large blocks in use from which on the pool is `full`; no limit unless given. */
  readonly mostLargeBytes?: number
}

/** Blocks of two sizes, kept for reuse as fresh memory is slow (10 µs for 64 KiB). One pool serves all connections. */
export class ChunkPool {
  readonly smallBytes: number
  readonly largeBytes: number
  readonly #keepSmall: number
  readonly #keepLarge: number
  readonly #small: Chunk[] = []
  readonly #large: Chunk[] = []
  readonly #mostLargeBytes: number
  /** Bytes of the blocks beyond the small class that are in use. */
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

  /** Whether so many large blocks are in use that who can do with a small one, or wait, should. */
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

  /** A block of at least `size` bytes with one reference. Beyond the large class it is made for this one use. */
  take(size: number): Chunk {
    const chunk = this.#reuse(size) ?? new Chunk(this, this.#classSize(size))
    chunk.retain()
    if (chunk.bytes.length > this.smallBytes) this.#largeBytesOut += chunk.bytes.length
    return chunk
  }

  /** Takes back a block that has no user left. */
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
