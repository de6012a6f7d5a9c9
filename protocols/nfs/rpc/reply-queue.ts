import { Encoder } from '../xdr/encoder.ts'
import type { Chunk, ChunkPool } from './chunk-pool.ts'
import { LAST_FRAGMENT } from './constants.ts'

/** What the queue needs of a socket; `net.Socket` has it. */
export interface ReplySink {
  /** Bytes accepted by `write` and not yet taken by the kernel. */
  readonly writableLength: number
  write(bytes: Uint8Array, done: () => void): boolean
  cork(): void
  uncork(): void
}

/** A block that replies are written into, one after the other; at most one of them is open (being written). */
export class ReplyBuffer {
  readonly chunk: Chunk
  readonly out: Encoder
  /** First byte that was not handed to the socket. */
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
 * The output of one connection. Replies are written straight into a common block, and everything that was finished since
 * the last `flush` leaves in one write. A reply that stays open while another one begins keeps its block for itself, and is
 * sent when it is committed.
 */
export class ReplyQueue {
  readonly #pool: ChunkPool
  readonly #sink: ReplySink
  #current: ReplyBuffer | undefined
  /** Finished parts of blocks that are no longer current. */
  #segments: Segment[] = []
  /** One item per `write` not yet reported done: the block to release then, undefined when it may be used on already. */
  readonly #writing: (Chunk | undefined)[] = []
  readonly #written: () => void
  #closed = false

  /** Bytes finished and not handed to the socket. */
  queuedBytes = 0
  /** Bytes of the blocks that open replies keep for themselves. */
  reservedBytes = 0

  /** `written` is called whenever the socket has taken what was handed to it. */
  constructor(pool: ChunkPool, sink: ReplySink, written: () => void) {
    this.#pool = pool
    this.#sink = sink
    this.#written = () => {
      this.#writing.shift()?.release()
      written()
    }
  }

  /** Whether memory for large replies is short: who can answer with less should. */
  get crowded(): boolean {
    return this.#pool.full
  }

  /** Bytes that the peer has not taken yet. */
  get unsentBytes(): number {
    return this.queuedBytes + this.#sink.writableLength
  }

  /** Opens a reply of at most `maxBytes` (without the record mark); write it to `out`, then `commit` or `cancel`. */
  begin(maxBytes: number): ReplyBuffer {
    let buffer = this.#current
    if (buffer === undefined || buffer.open || buffer.out.room < maxBytes + 4) {
      if (buffer !== undefined) this.#retire(buffer)
      buffer = new ReplyBuffer(this.#pool.take(maxBytes + 4))
      this.#current = buffer
    }
    buffer.open = true
    buffer.start = buffer.out.pos
    buffer.out.reserve(4)
    return buffer
  }

  /** Throws away what was written to the open reply so far; it stays open. */
  rewind(buffer: ReplyBuffer): void {
    buffer.out.pos = buffer.start + 4
  }

  /** Ends the open reply: it leaves with the next `flush`. */
  commit(buffer: ReplyBuffer): void {
    const { out } = buffer
    const length = out.pos - buffer.start
    out.view.setUint32(buffer.start, LAST_FRAGMENT + length - 4)
    this.queuedBytes += length
    this.#close(buffer)
  }

  /** Ends the open reply without sending it. */
  cancel(buffer: ReplyBuffer): void {
    buffer.out.pos = buffer.start
    this.#close(buffer)
  }

  /** Hands all finished replies to the socket, in one write. */
  flush(): void {
    if (this.queuedBytes === 0) return
    this.queuedBytes = 0
    const current = this.#current
    const end = current === undefined ? 0 : current.open ? current.start : current.out.pos
    if (this.#segments.length > 0) this.#flushAll(current, end)
    else if (current !== undefined) this.#write(current, end)
    if (this.#sink.writableLength === 0) this.#allTaken()
    if (current !== undefined && !current.open && current.chunk.exclusive) this.#recycle(current)
  }

  /** Nothing can be sent any more: gives back the memory that is not in use by the socket; replies still open may be ended. */
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

  /** Takes the place of current from a block; what is finished in it stays queued, an open reply goes on in it alone. */
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
    chunk.retain()
    this.#writing.push(chunk)
    this.#sink.write(part, this.#written)
  }

  /** The kernel has copied everything: blocks are free at once, without waiting for the socket to report each write. */
  #allTaken(): void {
    for (let i = 0; i < this.#writing.length; i++) {
      this.#writing[i]?.release()
      this.#writing[i] = undefined
    }
  }

  /** Starts again at the front of a block that is all sent; one of unusual size goes back to the pool. */
  #recycle(buffer: ReplyBuffer): void {
    buffer.out.pos = 0
    buffer.unsent = 0
    if (buffer.chunk.bytes.length === this.#pool.smallBytes) return
    this.#current = undefined
    buffer.chunk.release()
  }
}
