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
/**
 * How many bytes are encrypted before the peer has taken those before them. OpenSSL keeps what it has encrypted until then, so a peer that reads nothing costs its replies and this much
 * again, and not all of them twice.
 */
const ENCRYPTED_BYTES = 128 * 1024

/** What waits to be encrypted, and what to call when the kernel has it or the connection is gone. */
interface Waiting {
  bytes: Uint8Array
  readonly done: () => void
}

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
  /** In the order of `write`. */
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  /** Whether the kernel has not taken all that is encrypted. */
  #writing = false
  #corks = 0
  /** Ends the connection once nothing waits. */
  #end: (() => void) | undefined

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
    return this.#socket.writableLength + this.#waitingBytes
  }

  write(bytes: Uint8Array, done: () => void): boolean {
    this.#waiting.push({ bytes, done })
    this.#waitingBytes += bytes.length
    if (this.#corks === 0) this.#encrypt()
    return this.#waitingBytes === 0
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    this.#corks--
    if (this.#corks === 0) this.#encrypt()
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
    this.#end = () => this.#socket.end(done)
    this.#encrypt()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Passes as much as may be encrypted to the socket, in one write. */
  #encrypt(): void {
    if (this.#writing) return
    if (this.#waiting.length === 0) {
      const end = this.#end
      this.#end = undefined
      end?.()
      return
    }
    this.#writing = true
    this.#socket.cork()
    for (let room = ENCRYPTED_BYTES; room > 0 && this.#waiting.length > 0; ) {
      const [first] = this.#waiting
      const part = first.bytes.subarray(0, room)
      room -= part.length
      this.#waitingBytes -= part.length
      const whole = part.length === first.bytes.length
      if (whole) this.#waiting.shift()
      else first.bytes = first.bytes.subarray(part.length)
      const last = room === 0 || this.#waiting.length === 0
      this.#socket.write(part, (error) => {
        if (whole) first.done()
        if (error) this.#giveUp()
        else if (last) this.#goOn()
      })
    }
    this.#socket.uncork()
  }

  #goOn(): void {
    this.#writing = false
    this.#encrypt()
  }

  /** The connection is gone: nobody waits any longer for what it has not taken. */
  #giveUp(): void {
    this.#waitingBytes = 0
    for (const { done } of this.#waiting.splice(0)) done()
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
