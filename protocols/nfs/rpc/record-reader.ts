import type { Chunk, ChunkPool } from './chunk-pool.ts'
import { LAST_FRAGMENT } from './constants.ts'

/** Minimum space for one read from the socket; if less is left, the data is moved to the front or to another block. */
const MIN_READ_BYTES = 16 * 1024

/** A record mark that exceeds a limit. The stream cannot be parsed further, so the connection must be closed. */
export class RecordError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'RecordError'
  }
}

/** Limits for a peer. */
export interface RecordLimits {
  /** Maximum size of a record, all fragments together. */
  readonly maxRecordBytes: number
  /** Maximum number of fragments of a record. */
  readonly maxFragments: number
}

/**
 * Splits the byte stream of one connection into records (RFC 5531 section 11). Bytes arrive in place: `target` says where the
 * next ones go, `filled` how many arrived. A record of one fragment is returned in place, without a copy; one of
 * several fragments is assembled in another block.
 */
export class RecordReader {
  readonly #pool: ChunkPool
  readonly #limits: RecordLimits
  #chunk: Chunk
  /** The first unconsumed byte of `#chunk`. */
  #start = 0
  /** The end of the received bytes. */
  #fill = 0
  /** The size of the fragment at `#start`, including its mark; 4 while that is unknown. */
  #need = 4
  #assembly: Chunk | undefined
  #assembled = 0
  #fragments = 0

  /** The block with the record from the last `next`; retain it to use the bytes after the following `next`. */
  record: Chunk
  recordStart = 0
  recordEnd = 0

  constructor(pool: ChunkPool, limits: RecordLimits) {
    this.#pool = pool
    this.#limits = limits
    this.#chunk = pool.take(pool.smallBytes)
    this.record = this.#chunk
  }

  /** Whether a record has partially arrived. */
  get partial(): boolean {
    return this.#fill > this.#start || this.#assembled > 0
  }

  /** Whether the partial record needs a larger block than the present one. */
  get needsLarger(): boolean {
    return this.#need > this.#chunk.bytes.length
  }

  /** Whether a large block is held for a partial record. */
  get holdsLarge(): boolean {
    return this.partial && this.#chunk.bytes.length > this.#pool.smallBytes
  }

  /**
   * The destination of the next bytes from the socket. The region stays reserved until `filled` is called, whatever `next` does in between;
   * no region is returned twice while somebody retains its block.
   */
  target(): Buffer {
    const have = this.#fill - this.#start
    if (have === 0) this.#restart()
    else this.#makeRoom(have)
    const { bytes } = this.#chunk
    const end = this.#start + this.#need
    // A large record gets exactly its size, because bytes after it would have to be copied to the next block.
    if (this.#need > this.#pool.smallBytes && end > this.#fill) return bytes.subarray(this.#fill, end)
    return this.#fill === 0 ? bytes : bytes.subarray(this.#fill)
  }

  /** Reports that `count` bytes arrived in the last `target`. */
  filled(count: number): void {
    this.#fill += count
  }

  /**
   * Finds the next complete record; false if more bytes are needed.
   *
   * @throws RecordError a limit is exceeded
   */
  next(): boolean {
    if (this.#assembly !== undefined) this.#dropAssembly()
    for (;;) {
      const have = this.#fill - this.#start
      this.#need = 4
      if (have < 4) return false
      const mark = this.#chunk.view.getUint32(this.#start)
      const last = mark >= LAST_FRAGMENT
      const length = last ? mark - LAST_FRAGMENT : mark
      if (this.#assembled + length > this.#limits.maxRecordBytes)
        throw new RecordError(`record of ${length} bytes or more`)
      this.#need = 4 + length
      if (have < this.#need) return false
      const from = this.#start + 4
      this.#start += this.#need
      if (last && this.#fragments === 0) {
        this.#found(this.#chunk, from, from + length)
        return true
      }
      this.#append(from, length)
      if (last) {
        this.#found(this.#assembly!, 0, this.#assembled)
        return true
      }
    }
  }

  /** Releases all memory; the reader must not be used afterwards. */
  close(): void {
    this.#chunk.release()
    this.#assembly?.release()
    this.#assembly = undefined
  }

  #found(record: Chunk, start: number, end: number): void {
    this.record = record
    this.recordStart = start
    this.recordEnd = end
  }

  #append(from: number, length: number): void {
    this.#fragments++
    if (this.#fragments > this.#limits.maxFragments) throw new RecordError('too many fragments')
    this.#assembly ??= this.#pool.take(this.#limits.maxRecordBytes)
    this.#assembly.bytes.set(this.#chunk.bytes.subarray(from, from + length), this.#assembled)
    this.#assembled += length
  }

  /** Releases the assembled record of the previous `next`. */
  #dropAssembly(): void {
    if (this.record !== this.#assembly) return
    this.#assembly.release()
    this.#assembly = undefined
    this.#assembled = 0
    this.#fragments = 0
    this.record = this.#chunk
  }

  /** After all bytes are consumed: returns to the front, or to another block of the size of the last record. */
  #restart(): void {
    const { smallBytes, largeBytes } = this.#pool
    const lastLarge = this.recordEnd - this.recordStart >= smallBytes
    const size = lastLarge ? largeBytes : smallBytes
    const { bytes } = this.#chunk
    if (bytes.length === size && this.#chunk.exclusive) {
      this.#start = 0
      this.#fill = 0
    } else if (bytes.length !== size || lastLarge || bytes.length - this.#fill < MIN_READ_BYTES) {
      this.#moveTo(this.#pool.take(size))
    }
  }

  /** Ensures that the partial fragment can be completed contiguously and that a read is worth its system call. */
  #makeRoom(have: number): void {
    const { bytes } = this.#chunk
    const room = bytes.length - this.#fill
    const fits = bytes.length - this.#start >= this.#need
    const cheapToMove = have < MIN_READ_BYTES
    if (fits && (room >= MIN_READ_BYTES || (room > 0 && !cheapToMove))) return
    const wanted = Math.max(this.#need, have + MIN_READ_BYTES)
    if (wanted <= bytes.length && this.#chunk.exclusive) {
      bytes.copyWithin(0, this.#start, this.#fill)
      this.#start = 0
      this.#fill = have
    } else {
      this.#moveTo(this.#pool.take(wanted))
    }
  }

  #moveTo(chunk: Chunk): void {
    const old = this.#chunk
    old.bytes.copy(chunk.bytes, 0, this.#start, this.#fill)
    this.#chunk = chunk
    this.#fill -= this.#start
    this.#start = 0
    if (this.record === old) this.record = chunk
    old.release()
  }
}
