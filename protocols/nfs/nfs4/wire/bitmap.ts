import type { Decoder } from '../../xdr/decoder.ts'
import type { Encoder } from '../../xdr/encoder.ts'
import { XdrError } from '../../xdr/xdr-error.ts'

/** Words of a `bitmap4` that are read; further ones must not be more than these in number, and mean attributes that no version has. */
const WORDS = 3
const MOST_WORDS = 8

/** A set of attributes (`bitmap4`, RFC 8881 section 3.3.7). */
export class Bitmap {
  readonly words = new Uint32Array(WORDS)
  /** Whether it has an attribute beyond the last word that is kept. */
  beyond = false

  static of(...attributes: readonly number[]): Bitmap {
    const bitmap = new Bitmap()
    for (const attribute of attributes) bitmap.add(attribute)
    return bitmap
  }

  /** @throws XdrError */
  read(args: Decoder): this {
    const count = args.u32()
    if (count > MOST_WORDS) throw new XdrError(`a bitmap of ${count} words`)
    this.clear()
    for (let i = 0; i < count; i++) {
      const word = args.u32()
      if (i < WORDS) this.words[i] = word
      else if (word !== 0) this.beyond = true
    }
    return this
  }

  clear(): void {
    this.words[0] = 0
    this.words[1] = 0
    this.words[2] = 0
    this.beyond = false
  }

  set(other: Bitmap): void {
    this.words.set(other.words)
    this.beyond = other.beyond
  }

  add(attribute: number): void {
    this.words[attribute >>> 5]! |= 1 << (attribute & 31)
  }

  delete(attribute: number): void {
    this.words[attribute >>> 5]! &= ~(1 << (attribute & 31))
  }

  has(attribute: number): boolean {
    return ((this.words[attribute >>> 5]! >>> (attribute & 31)) & 1) === 1
  }

  /** Whether it has an attribute that `other` has not. */
  exceeds(other: Bitmap): boolean {
    if (this.beyond) return true
    for (let i = 0; i < WORDS; i++) if (this.words[i]! & ~other.words[i]!) return true
    return false
  }

  /** Removes what `other` has not. */
  keep(other: Bitmap): void {
    for (let i = 0; i < WORDS; i++) this.words[i]! &= other.words[i]!
    this.beyond = false
  }

  get empty(): boolean {
    return (this.words[0]! | this.words[1]! | this.words[2]!) === 0 && !this.beyond
  }

  /** Writes it without zero words at its end. */
  write(out: Encoder): void {
    const { words } = this
    const count = words[2] !== 0 ? 3 : words[1] !== 0 ? 2 : words[0] !== 0 ? 1 : 0
    out.u32(count)
    for (let i = 0; i < count; i++) out.u32(words[i]!)
  }
}
