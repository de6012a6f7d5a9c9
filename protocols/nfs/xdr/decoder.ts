import { XdrError } from './xdr-error.ts'

const TWO_32 = 0x1_0000_0000

/**
 * Reads XDR (RFC 4506) from a part of a buffer. Only numbers and strings are copied: an opaque is a view that is valid as
 * long as the buffer is. Every read checks the end and throws XdrError if the data is too short.
 */
export class Decoder {
  bytes: Buffer
  view: DataView
  /** Offset of the next item in `bytes`. */
  pos: number
  /** Offset just after the last byte that may be read. */
  end: number

  constructor(bytes: Buffer = EMPTY) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.pos = 0
    this.end = bytes.length
  }

  /** Switches to another part of the same or another buffer; `view` must cover the same bytes. */
  reset(bytes: Buffer, view: DataView, start: number, end: number): void {
    this.bytes = bytes
    this.view = view
    this.pos = start
    this.end = end
  }

  /** The number of unread bytes. */
  get remaining(): number {
    return this.end - this.pos
  }

  /** Consumes `length` bytes and returns their offset. @throws XdrError too few bytes are left */
  take(length: number): number {
    const at = this.pos
    const next = at + length
    if (next > this.end) throw new XdrError('message is truncated')
    this.pos = next
    return at
  }

  /** An unsigned 32-bit integer. */
  u32(): number {
    return this.view.getUint32(this.take(4))
  }

  /**
   * An unsigned 64-bit integer as a number; undefined if it exceeds 2^53-1. The bytes are
   * consumed in both cases.
   */
  safeU64(): number | undefined {
    const at = this.take(8)
    const hi = this.view.getUint32(at)
    return hi > 0x1f_ffff ? undefined : hi * TWO_32 + this.view.getUint32(at + 4)
  }

  /** An unsigned 64-bit integer. */
  u64(): bigint {
    return this.view.getBigUint64(this.take(8))
  }

  /** A boolean: 0 or 1, nothing else. */
  bool(): boolean {
    const value = this.u32()
    if (value > 1) throw new XdrError(`${value} is not a boolean`)
    return value === 1
  }

  /** An enum of the values 0…`max`. */
  enumUpTo(max: number): number {
    const value = this.u32()
    if (value > max) throw new XdrError(`${value} is not a valid enum value`)
    return value
  }

  /** Consumes a variable-length opaque of at most `max` bytes (below 2^31) with its padding, and returns its length. Its bytes begin 4 after the old `pos`. */
  takeOpaque(max: number): number {
    const at = this.pos
    const left = this.end - at - 4
    const length = left < 0 ? 0 : this.view.getUint32(at)
    if (length > max) throw new XdrError(`opaque data of ${length} bytes exceeds the limit of ${max}`)
    const padded = (length + 3) & ~3
    if (padded > left) throw new XdrError('message is truncated')
    this.pos = at + 4 + padded
    return length
  }

  /** A view of a variable-length opaque of at most `max` bytes (below 2^31). */
  opaque(max: number): Buffer {
    const at = this.pos + 4
    return this.bytes.subarray(at, at + this.takeOpaque(max))
  }

  /** A string of at most `max` bytes, one code unit per byte (latin1). */
  string(max: number): string {
    const at = this.pos + 4
    return this.bytes.toString('latin1', at, at + this.takeOpaque(max))
  }
}

const EMPTY = Buffer.alloc(0)

/** A copy of bytes that will be kept. `Buffer.from` would cut it from a block of 8 KiB, all of which stays in memory as long as the copy. */
export function ownCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}
