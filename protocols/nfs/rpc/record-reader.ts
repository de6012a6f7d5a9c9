import type { Chunk, ChunkPool } from './chunk-pool.ts'
import { LAST_FRAGMENT } from './constants.ts'

/** Least room offered to one read from the socket: smaller rests are moved to the front or to another block. */
const MIN_READ_BYTES = 16 * 1024

/** A record mark that breaks a limit: the stream cannot be followed any further, so that the connection must be closed. */
export class RecordError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'RecordError'
  }
}

/** What a peer may ask for. */
export interface RecordLimits {
  /** Most bytes in one record, all fragments together. */
  readonly maxRecordBytes: number
  /** Most fragments of one record. */
  readonly maxFragments: number
}

/**
 * Cuts the byte stream of one connection into records (RFC 5531 section 11). Bytes arrive in place: `target` says where the
 * next ones go, `filled` how many came. A record of one fragment is handed out where it lies, without a copy; one of
 * several fragments is put together aside.
 */
export class RecordReader {
  readonly #pool: ChunkPool
  readonly #limits: RecordLimits
  #chunk: Chunk
  /** First byte of `#chunk` that is not consumed. */
  #start = 0
  /** End of the bytes that arrived. */
  #fill = 0
  /** Bytes from `#start` on that the fragment begun there will take, its mark included; 4 while even that is unknown. */
  #need = 4
  #assembly: Chunk | undefined
  #assembled = 0
  #fragments = 0

  /** The block that holds the record found by the last `next`; retain it to use the bytes after the following `next`. */
  record: Chunk
  recordStart = 0
  recordEnd = 0

  constructor(pool: ChunkPool, limits: RecordLimits) {
    this.#pool = pool
    this.#limits = limits
    this.#chunk = pool.take(pool.smallBytes)
    this.record = this.#chunk
  }

  /** Whether a record has begun to arrive and is not complete. */
  get partial(): boolean {
    return this.#fill > this.#start || this.#assembled > 0
  }

  /** Whether the record that has begun to arrive takes a larger block than the one at hand. */
  get needsLarger(): boolean {
    return this.#need > this.#chunk.bytes.length
  }

  /** Whether a block beyond the small class is held for a record that is not complete. */
  get holdsLarge(): boolean {
    return this.partial && this.#chunk.bytes.length > this.#pool.smallBytes
  }

  /**
   * Where the next bytes from the socket go. The region stays reserved until `filled` is called, whatever `next` does in between;
   * no region is ever offered twice while somebody retains its block.
   */
  target(): Buffer {
    const have = this.#fill - this.#start
    if (have === 0) this.#restart()
    else this.#makeRoom(have)
    const { bytes } = this.#chunk
    const end = this.#start + this.#need
    // A large record gets exactly its room: what came behind it would have to be copied to the next block.
    if (this.#need > this.#pool.smallBytes && end > this.#fill) return bytes.subarray(this.#fill, end)
    return this.#fill === 0 ? bytes : bytes.subarray(this.#fill)
  }

  /** Tells that `count` bytes arrived in the last `target`. */
  filled(count: number): void {
    this.#fill += count
  }

  /**
   * Finds the next complete record; false when more bytes are needed.
   *
   * @throws RecordError a limit is broken
   */
  next(): boolean {
    this.#dropAssembly()
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

  /** Gives all memory back; the reader is of no more use. */
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

  /** Lets go of the assembled record that the previous `next` handed out. */
  #dropAssembly(): void {
    if (this.#assembly === undefined || this.record !== this.#assembly) return
    this.#assembly.release()
    this.#assembly = undefined
    this.#assembled = 0
    this.#fragments = 0
    this.record = this.#chunk
  }

  /** All bytes are consumed: goes back to the front, or to another block of the size that the last record asks for. */
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

  /** Makes sure that the begun fragment can be completed in one piece and that a read is worth its system call. */
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
