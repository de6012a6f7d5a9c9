import type { Socket } from 'node:net'
import { readInto } from './read-into.ts'
import type { ReplySink } from './reply-queue.ts'

/** What a connection needs of its socket. */
export interface ByteStream extends ReplySink {
  pause(): unknown
  resume(): unknown
  destroy(): unknown
  end(done: () => void): unknown
}

/** Where received bytes go. */
export interface ByteTarget {
  /** The place for the next bytes. */
  target(): Buffer
  /** Reports that `count` bytes are there; false if no more are wanted now. */
  filled(count: number): boolean
}

const EMPTY = Buffer.alloc(0)
/** What a TLS record contains at most (RFC 8446 section 5.1). */
const RECORD_BYTES = 16_384

/** The bytes of an encrypted connection, put where those of a plain one are read to. Bytes that arrive while nobody wants them are kept: those of one read, at most 64 KiB. */
export class SecureStream implements ByteStream {
  readonly #socket: Socket
  readonly #to: ByteTarget
  /** Received and not yet wanted. */
  #rest: Buffer | undefined
  #wanted = true
  /** Where the next bytes go: the target, or while nobody wants them the spare buffer. */
  #place: Buffer = EMPTY
  #spare: Buffer | undefined

  constructor(socket: Socket, to: ByteTarget) {
    this.#socket = socket
    this.#to = to
    // What came with the end of the handshake. Nobody is ready for it yet.
    const come: Buffer | null = socket.read()
    if (come !== null) this.#rest = come
    const buffer = () => this.#nextPlace()
    if (!readInto(socket, { buffer, callback: (count) => this.#filled(count) }))
      socket.on('data', (bytes: Buffer) => this.#take(bytes)).pause()
    process.nextTick(() => {
      if (this.#wanted) this.resume()
    })
  }

  get writableLength(): number {
    return this.#socket.writableLength
  }

  write(bytes: Uint8Array, done: () => void): boolean {
    return this.#socket.write(bytes, done)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#wanted = false
    this.#socket.pause()
  }

  resume(): void {
    this.#wanted = true
    const rest = this.#rest
    this.#rest = undefined
    if (rest !== undefined) this.#take(rest)
    if (this.#wanted) this.#socket.resume()
  }

  end(done: () => void): void {
    this.#socket.end(done)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #nextPlace(): Buffer {
    if (this.#wanted && this.#rest === undefined) {
      this.#place = this.#to.target()
    } else {
      this.#spare ??= Buffer.allocUnsafeSlow(RECORD_BYTES)
      this.#place = this.#spare
    }
    return this.#place
  }

  /** Bytes have been read to the place. Returns whether more are wanted. */
  #filled(count: number): boolean {
    if (this.#place === this.#spare) this.#take(Buffer.from(this.#place.subarray(0, count)))
    else if (!this.#to.filled(count)) this.#wanted = false
    return this.#wanted
  }

  #take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      if (!this.#wanted || this.#socket.destroyed) {
        this.#rest = this.#rest === undefined ? bytes.subarray(at) : Buffer.concat([this.#rest, bytes.subarray(at)])
        return
      }
      const to = this.#to.target()
      const count = bytes.copy(to, 0, at)
      at += count
      if (!this.#to.filled(count)) this.pause()
    }
  }
}
