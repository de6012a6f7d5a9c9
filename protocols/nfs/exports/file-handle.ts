import { hash } from 'node:crypto'
import type { Inode } from '../../../overlay-core/index.ts'
import type { Decoder } from '../xdr/decoder.ts'
import { Encoder } from '../xdr/encoder.ts'
import { MacCache } from './mac-cache.ts'

/** Maximum size of a file handle on the wire (`NFS3_FHSIZE`, RFC 1813 section 2.4). */
const NFS3_FHSIZE = 64
/** Handles of views with a number of 32 bits: version · view · key (64 bits) · generation · MAC. */
const NARROW = 1
const NARROW_BYTES = 20
/** Handles of views of a template, whose numbers have 64 bits and a high word other than 0. */
const WIDE = 2
const WIDE_BYTES = NARROW_BYTES + 4
const MAC_BYTES = 16
/** With the MAC. */
const WHOLE_NARROW_BYTES = NARROW_BYTES + MAC_BYTES
const WHOLE_WIDE_BYTES = WIDE_BYTES + MAC_BYTES
const MAC_WORDS = MAC_BYTES / 4
/** The number of cached MACs: 1 MiB. */
const REMEMBERED = 32 * 1024
const SHA256_BLOCK_BYTES = 64
const SHA256_BYTES = 32
const TWO_32 = 0x1_0000_0000
/** Keys are safe integers: below 2^53. */
const MAX_KEY_HI = 0x1f_ffff

/** The number of a view in file handles. */
export interface ViewNumber {
  /** The high 32 bits; 0 for a view whose number is derived from its name and overlay. */
  readonly viewHi: number
  /** The low 32 bits. */
  readonly view: number
}

/**
 * Stands for the root of the caller's own view in the handles of a template: no object has this key. A client that mounts in clear text what it uses with a certificate
 * gets such a handle, which opens nothing without the certificate.
 */
export const OWN_VIEW: Pick<Inode, 'key' | 'generation'> = { key: Number.MAX_SAFE_INTEGER, generation: 0xffff_ffff }

/** Whether a handle stands for the root of the caller's own view. */
export function isOwnView({ key, generation }: WireHandle): boolean {
  return key === OWN_VIEW.key && generation === OWN_VIEW.generation
}

/** The key of an object of a view in the tables of locks, which all protocols share. */
export function lockKeyOf(
  { viewHi, view }: ViewNumber,
  { key, generation }: Pick<Inode, 'key' | 'generation'>,
): string {
  return `${viewHi}.${view}:${key}:${generation}`
}

/** The length of the handles of a view. */
export function handleBytes({ viewHi }: ViewNumber): number {
  return viewHi > 0 ? WHOLE_WIDE_BYTES : WHOLE_NARROW_BYTES
}

/** A handle from a client, unverified. It contains only numbers, so that it outlives the buffer that it was read from. */
export class WireHandle {
  /** Whether it has the format of our handles. */
  wellFormed = false
  viewHi = 0
  view = 0
  key = 0
  generation = 0
  readonly mac = new Uint32Array(MAC_WORDS)

  /** Reads a handle. @throws XdrError it is truncated or longer than 64 bytes */
  read(args: Decoder): void {
    const at = args.pos + 4
    const length = args.takeOpaque(NFS3_FHSIZE)
    const { view } = args
    const wide = length === WHOLE_WIDE_BYTES
    this.wellFormed = (wide || length === WHOLE_NARROW_BYTES) && view.getUint32(at) === (wide ? WIDE : NARROW)
    if (!this.wellFormed) return
    const viewAt = wide ? at + 8 : at + 4
    this.viewHi = wide ? view.getUint32(at + 4) : 0
    this.view = view.getUint32(viewAt)
    // Each view has one form of handle, so that each object has one handle.
    this.wellFormed = view.getUint32(viewAt + 4) <= MAX_KEY_HI && wide === this.viewHi > 0
    this.key = view.getUint32(viewAt + 4) * TWO_32 + view.getUint32(viewAt + 8)
    this.generation = view.getUint32(viewAt + 12)
    const macAt = viewAt + 16
    for (let i = 0; i < this.mac.length; i++) this.mac[i] = view.getUint32(macAt + 4 * i)
  }
}

/**
 * Creates and checks file handles: version, view, identity of the object, and an HMAC-SHA256 of these, truncated to 128 bits, with a
 * key that only the server knows. So clients can use only handles that the server has issued.
 */
export class HandleCodec {
  /** HMAC (RFC 2104) as two plain hashes over prepared blocks, because a Hmac object takes seven times as long. */
  readonly #inner = Buffer.alloc(SHA256_BLOCK_BYTES + WIDE_BYTES, 0x36)
  readonly #outer = Buffer.alloc(SHA256_BLOCK_BYTES + SHA256_BYTES, 0x5c)
  readonly #result = Buffer.alloc(SHA256_BYTES)
  readonly #identity: Buffer
  readonly #known = new MacCache(REMEMBERED)
  /** The present MAC. */
  readonly #mac = new Uint32Array(MAC_WORDS)

  /** `key` has 32 bytes. */
  constructor(key: Uint8Array) {
    if (key.length !== 32) throw new RangeError('the file handle key must have 32 bytes')
    for (let i = 0; i < key.length; i++) {
      this.#inner[i] ^= key[i]
      this.#outer[i] ^= key[i]
    }
    this.#identity = this.#inner.subarray(SHA256_BLOCK_BYTES)
  }

  /** The handle of `inode` in `view`. */
  encode(view: ViewNumber, inode: Pick<Inode, 'key' | 'generation'>): Uint8Array {
    const handle = Buffer.alloc(4 + handleBytes(view))
    this.write(new Encoder(handle), view, inode)
    return handle.subarray(4)
  }

  /** Writes the handle of `inode` in `view` as an opaque. */
  write(out: Encoder, { viewHi, view }: ViewNumber, inode: Pick<Inode, 'key' | 'generation'>): void {
    const { key, generation } = inode
    this.#find(viewHi, view, key, generation)
    const wide = viewHi > 0
    const length = wide ? WHOLE_WIDE_BYTES : WHOLE_NARROW_BYTES
    const at = out.reserve(4 + length)
    const to = out.view
    to.setUint32(at, length)
    to.setUint32(at + 4, wide ? WIDE : NARROW)
    if (wide) to.setUint32(at + 8, viewHi)
    const viewAt = wide ? at + 12 : at + 8
    to.setUint32(viewAt, view)
    to.setUint32(viewAt + 4, Math.floor(key / TWO_32))
    to.setUint32(viewAt + 8, key)
    to.setUint32(viewAt + 12, generation)
    const macAt = viewAt + 16
    for (let i = 0; i < MAC_WORDS; i++) to.setUint32(macAt + 4 * i, this.#mac[i]!)
  }

  /** Whether this server issued `wire`; its object may be gone. The comparison takes constant time. */
  authentic(wire: WireHandle): boolean {
    this.#find(wire.viewHi, wire.view, wire.key, wire.generation)
    let difference = 0
    for (let i = 0; i < MAC_WORDS; i++) difference |= this.#mac[i]! ^ wire.mac[i]!
    return difference === 0
  }

  /** Puts the MAC of a handle into `#mac`. */
  #find(viewHi: number, view: number, key: number, generation: number): void {
    if (this.#known.get(viewHi, view, key, generation, this.#mac)) return
    this.#compute(viewHi, view, key, generation)
    this.#known.set(viewHi, view, key, generation, this.#mac)
  }

  #compute(viewHi: number, view: number, key: number, generation: number): void {
    const identity = this.#identity
    const wide = viewHi > 0
    identity.writeUInt32BE(wide ? WIDE : NARROW, 0)
    if (wide) identity.writeUInt32BE(viewHi, 4)
    const viewAt = wide ? 8 : 4
    identity.writeUInt32BE(view, viewAt)
    identity.writeUInt32BE(Math.floor(key / TWO_32), viewAt + 4)
    identity.writeUInt32BE(key >>> 0, viewAt + 8)
    identity.writeUInt32BE(generation >>> 0, viewAt + 12)
    const inner = this.#inner.subarray(0, SHA256_BLOCK_BYTES + (wide ? WIDE_BYTES : NARROW_BYTES))
    // As strings, because new buffers take more time than the hashes.
    this.#outer.write(hash('sha256', inner, 'binary'), SHA256_BLOCK_BYTES, 'binary')
    this.#result.write(hash('sha256', this.#outer, 'binary'), 'binary')
    for (let i = 0; i < MAC_WORDS; i++) this.#mac[i] = this.#result.readUInt32BE(4 * i)
  }
}
