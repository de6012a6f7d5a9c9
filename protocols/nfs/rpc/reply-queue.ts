import { Encoder } from '../xdr/encoder.ts'
import type { Chunk, ChunkPool } from './chunk-pool.ts'
import { LAST_FRAGMENT } from './constants.ts'

/** The size of a record mark. */
const MARK_BYTES = 4

/** The parts of `net.Socket` that the queue needs. */
export interface ReplySink {
  /** The bytes accepted by `write` and not yet taken by the kernel. */
  readonly writableLength: number
  write(bytes: Uint8Array, done: () => void): boolean
  cork(): void
  uncork(): void
}

/** A block into which replies are written one after the other; at most one of them is open (being written). */
export class ReplyBuffer {
  readonly chunk: Chunk
  readonly out: Encoder
  /** The first byte that was not passed to the socket. */
  unsent = 0
  /** Offset of the record mark of the open or last reply. */
  start = 0
  open = false

  constructor(chunk: Chunk) {
    this.chunk = chunk
    this.out = new Encoder(chunk.bytes)
  }
}

interface Segment {
  readonly chunk: Chunk
  readonly start: number
  readonly end: number
}

/**
 * The output of one connection. Replies are written directly into a common block, and everything that was finished since
 * the last `flush` is sent in one write. A reply that stays open while another one starts keeps its own block, and is
 * sent when it is committed.
 */
export class ReplyQueue {
  readonly #pool: ChunkPool
  readonly #sink: ReplySink
  #current: ReplyBuffer | undefined
  /** Finished parts of blocks that are no longer current. */
  #segments: Segment[] = []
  /** One item per pending `write`: the block to release afterwards, or undefined if the kernel took everything at once. */
  readonly #writing: (Chunk | undefined)[] = []
  /** Whether `#writing` may have a block that the kernel has taken meanwhile. */
  #holds = false
  readonly #written: () => void
  #closed = false

  /** The bytes finished and not passed to the socket. */
  queuedBytes = 0
  /** The bytes of blocks held by open replies. */
  reservedBytes = 0

  /** `written` is called when the socket has taken bytes that had to wait. */
  constructor(pool: ChunkPool, sink: ReplySink, written: () => void) {
    this.#pool = pool
    this.#sink = sink
    this.#written = () => {
      const chunk = this.#writing.shift()
      if (chunk === undefined) return
      chunk.release()
      written()
    }
  }

  /** Whether memory for large replies is short, so that replies should be shorter if possible. */
  get crowded(): boolean {
    return this.#pool.full
  }

  /** The bytes that the peer has not read yet. */
  get unsentBytes(): number {
    return this.queuedBytes + this.#sink.writableLength
  }

  /** Opens a reply of at most `maxBytes` (without the record mark); write it to `out`, then `commit` or `cancel`. */
  begin(maxBytes: number): ReplyBuffer {
    let buffer = this.#current
    if (buffer === undefined || buffer.open || buffer.chunk.bytes.length - buffer.out.pos < maxBytes + MARK_BYTES) {
      if (buffer !== undefined) this.#retire(buffer)
      buffer = new ReplyBuffer(this.#pool.take(maxBytes + MARK_BYTES))
      this.#current = buffer
    }
    const { out } = buffer
    buffer.open = true
    buffer.start = out.pos
    out.pos += MARK_BYTES
    return buffer
  }

  /** Discards the contents of the open reply, which stays open. */
  rewind(buffer: ReplyBuffer): void {
    buffer.out.pos = buffer.start + MARK_BYTES
  }

  /** Ends the open reply; the next `flush` sends it. */
  commit(buffer: ReplyBuffer): void {
    const { out } = buffer
    const length = out.pos - buffer.start
    out.view.setUint32(buffer.start, LAST_FRAGMENT + length - MARK_BYTES)
    this.queuedBytes += length
    this.#close(buffer)
  }

  /** Ends the open reply without sending it. */
  cancel(buffer: ReplyBuffer): void {
    buffer.out.pos = buffer.start
    this.#close(buffer)
  }

  /** Passes all finished replies to the socket in one write. */
  flush(): void {
    if (this.queuedBytes === 0) return
    this.queuedBytes = 0
    const current = this.#current
    const end = current === undefined ? 0 : current.open ? current.start : current.out.pos
    if (this.#segments.length > 0) this.#flushAll(current, end)
    else if (current !== undefined) this.#write(current, end)
    if (this.#holds && this.#sink.writableLength === 0) this.#allTaken()
    if (current !== undefined && !current.open && current.chunk.exclusive) this.#recycle(current)
  }

  /** Stops sending and releases memory that the socket does not use; open replies may still be ended. */
  close(): void {
    this.#closed = true
    for (const segment of this.#segments) segment.chunk.release()
    this.#segments = []
    this.queuedBytes = 0
    if (this.#current?.open === false) this.#current.chunk.release()
    this.#current = undefined
  }

  #close(buffer: ReplyBuffer): void {
    buffer.open = false
    if (this.#closed) {
      this.#current = undefined
      buffer.chunk.release()
    }
    if (this.#closed || buffer === this.#current) return
    this.reservedBytes -= buffer.chunk.bytes.length
    this.#push(buffer, buffer.out.pos)
    buffer.chunk.release()
  }

  /** Replaces the current block; its finished replies stay queued, and an open reply continues in it alone. */
  #retire(buffer: ReplyBuffer): void {
    this.#push(buffer, buffer.open ? buffer.start : buffer.out.pos)
    if (buffer.open) this.reservedBytes += buffer.chunk.bytes.length
    else buffer.chunk.release()
  }

  #push(buffer: ReplyBuffer, end: number): void {
    if (end > buffer.unsent) {
      buffer.chunk.retain()
      this.#segments.push({ chunk: buffer.chunk, start: buffer.unsent, end })
    }
    buffer.unsent = end
  }

  #flushAll(current: ReplyBuffer | undefined, end: number): void {
    const segments = this.#segments
    this.#segments = []
    this.#holds = true
    this.#sink.cork()
    for (const { chunk, start, end } of segments) {
      this.#writing.push(chunk)
      this.#sink.write(chunk.bytes.subarray(start, end), this.#written)
    }
    if (current !== undefined) this.#write(current, end)
    this.#sink.uncork()
  }

  #write(buffer: ReplyBuffer, end: number): void {
    if (end === buffer.unsent) return
    const { chunk } = buffer
    const part = chunk.bytes.subarray(buffer.unsent, end)
    buffer.unsent = end
    const pending = this.#writing.push(undefined)
    this.#sink.write(part, this.#written)
    // What the kernel takes at once is copied, and the block is free again.
    if (this.#sink.writableLength === 0) return
    chunk.retain()
    this.#writing[pending - 1] = chunk
    this.#holds = true
  }

  /** Frees blocks at once after the kernel has copied everything, without waiting for the socket to report each write. */
  #allTaken(): void {
    this.#holds = false
    for (let i = 0; i < this.#writing.length; i++) {
      this.#writing[i]?.release()
      this.#writing[i] = undefined
    }
  }

  /** Reuses a fully sent block from its front; one of unusual size returns to the pool. */
  #recycle(buffer: ReplyBuffer): void {
    buffer.out.pos = 0
    buffer.unsent = 0
    if (buffer.chunk.bytes.length === this.#pool.smallBytes) return
    this.#current = undefined
    buffer.chunk.release()
  }
}
