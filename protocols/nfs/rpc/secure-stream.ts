import type { Socket } from 'node:net'
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

/** The bytes of an encrypted connection, put where those of a plain one are read to. Bytes that arrive while nobody wants them are kept: those of one TLS record. */
export class SecureStream implements ByteStream {
  readonly #socket: Socket
  readonly #to: ByteTarget
  /** Received and not yet wanted. */
  #rest: Buffer | undefined
  #wanted = true

  constructor(socket: Socket, to: ByteTarget) {
    this.#socket = socket
    this.#to = to
    socket.on('data', (bytes: Buffer) => this.#take(bytes))
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
