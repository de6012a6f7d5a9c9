const TWO_32 = 0x1_0000_0000

/**
 * Writes XDR (RFC 4506) into a buffer of sufficient size: an item that does not fit throws RangeError, which is a
 * fault of this program and not of the peer. The buffer may contain old bytes; padding is always written as zeros.
 */
export class Encoder {
  readonly bytes: Buffer
  readonly view: DataView
  /** Offset of the next item in `bytes`. */
  pos: number

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.pos = 0
  }

  /** The number of free bytes. */
  get room(): number {
    return this.bytes.length - this.pos
  }

  /** Reserves `length` bytes for the caller to fill and returns their offset. @throws RangeError they do not fit */
  reserve(length: number): number {
    const at = this.pos
    if (at + length > this.bytes.length) throw new RangeError('the reply does not fit into its buffer')
    this.pos = at + length
    return at
  }

  /** An unsigned 32-bit integer (taken modulo 2^32). */
  u32(value: number): void {
    this.view.setUint32(this.pos, value)
    this.pos += 4
  }

  bool(value: boolean): void {
    this.u32(value ? 1 : 0)
  }

  /** An unsigned 64-bit integer from its halves. */
  u64(hi: number, lo: number): void {
    const at = this.reserve(8)
    this.view.setUint32(at, hi)
    this.view.setUint32(at + 4, lo)
  }

  /** An unsigned 64-bit integer from a safe, non-negative integer. */
  safeU64(value: number): void {
    this.u64(Math.floor(value / TWO_32), value)
  }

  /** Fixed-length bytes, padded. */
  fixedOpaque(bytes: Uint8Array): void {
    const length = bytes.length
    const at = this.reserve((length + 3) & ~3)
    this.bytes.set(bytes, at)
    for (let i = at + length; i < this.pos; i++) this.bytes[i] = 0
  }

  /** Variable-length bytes with their length first, padded. */
  opaque(bytes: Uint8Array): void {
    this.u32(bytes.length)
    this.fixedOpaque(bytes)
  }

  /** A latin1 string (one byte per code unit) with its length first, padded. */
  string(text: string): void {
    const length = text.length
    this.u32(length)
    const at = this.reserve((length + 3) & ~3)
    const { bytes } = this
    for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i)
    for (let i = at + length; i < this.pos; i++) bytes[i] = 0
  }
}
