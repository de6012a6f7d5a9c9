import { hash } from 'node:crypto'
import type { Inode } from '../../../overlay-core/index.ts'
import type { Decoder } from '../xdr/decoder.ts'
import { Encoder } from '../xdr/encoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { MacCache } from './mac-cache.ts'

/** Maximum size of a file handle on the wire (`NFS3_FHSIZE`, RFC 1813 section 2.4). */
const NFS3_FHSIZE = 64
const VERSION = 1
/** version · view · key (64 bits) · generation, before the MAC. */
const IDENTITY_BYTES = 20
const MAC_BYTES = 16
const MAC_WORDS = MAC_BYTES / 4
/** The number of cached MACs: 1 MiB. */
const REMEMBERED = 32 * 1024
/** The length of every handle of this server. */
export const HANDLE_BYTES = IDENTITY_BYTES + MAC_BYTES
const SHA256_BLOCK_BYTES = 64
const TWO_32 = 0x1_0000_0000
/** Keys are safe integers: below 2^53. */
const MAX_KEY_HI = 0x1f_ffff

/** A handle from a client, unverified. It contains only numbers, so that it outlives the buffer that it was read from. */
export class WireHandle {
  /** Whether it has the format of our handles. */
  wellFormed = false
  view = 0
  key = 0
  generation = 0
  readonly mac = new Uint32Array(MAC_WORDS)

  /** Reads a handle. @throws XdrError it is truncated or longer than 64 bytes */
  read(args: Decoder): void {
    const length = args.u32()
    if (length > NFS3_FHSIZE) throw new XdrError(`file handle of ${length} bytes`)
    const at = args.take((length + 3) & ~3)
    const { view } = args
    this.wellFormed = length === HANDLE_BYTES && view.getUint32(at) === VERSION
    if (!this.wellFormed) return
    this.view = view.getUint32(at + 4)
    this.wellFormed = view.getUint32(at + 8) <= MAX_KEY_HI
    this.key = view.getUint32(at + 8) * TWO_32 + view.getUint32(at + 12)
    this.generation = view.getUint32(at + 16)
    const macAt = at + IDENTITY_BYTES
    for (let i = 0; i < this.mac.length; i++) this.mac[i] = view.getUint32(macAt + 4 * i)
  }
}

/**
 * Creates and checks file handles: version, view, identity of the object, and an HMAC-SHA256 of these, truncated to 128 bits, with a
 * key that only the server knows. So clients can use only handles that the server has issued.
 */
export class HandleCodec {
  /** HMAC (RFC 2104) as two plain hashes over prepared blocks, because a Hmac object takes seven times as long. */
  readonly #inner = Buffer.alloc(SHA256_BLOCK_BYTES + IDENTITY_BYTES, 0x36)
  readonly #outer = Buffer.alloc(SHA256_BLOCK_BYTES + 32, 0x5c)
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
  encode(view: number, inode: Inode): Uint8Array {
    const handle = Buffer.alloc(4 + HANDLE_BYTES)
    this.write(new Encoder(handle), view, inode)
    return handle.subarray(4)
  }

  /** Writes the handle of `inode` in `view` as an opaque. */
  write(out: Encoder, view: number, inode: Inode): void {
    const { key, generation } = inode
    this.#find(view, key, generation)
    const at = out.reserve(4 + HANDLE_BYTES)
    const to = out.view
    to.setUint32(at, HANDLE_BYTES)
    to.setUint32(at + 4, VERSION)
    to.setUint32(at + 8, view)
    to.setUint32(at + 12, Math.floor(key / TWO_32))
    to.setUint32(at + 16, key)
    to.setUint32(at + 20, generation)
    const macAt = at + 4 + IDENTITY_BYTES
    for (let i = 0; i < MAC_WORDS; i++) to.setUint32(macAt + 4 * i, this.#mac[i]!)
  }

  /** Whether this server issued `wire`; its object may be gone. The comparison takes constant time. */
  authentic(wire: WireHandle): boolean {
    this.#find(wire.view, wire.key, wire.generation)
    let difference = 0
    for (let i = 0; i < MAC_WORDS; i++) difference |= this.#mac[i]! ^ wire.mac[i]!
    return difference === 0
  }

  /** Puts the MAC of a handle into `#mac`. */
  #find(view: number, key: number, generation: number): void {
    if (this.#known.get(view, key, generation, this.#mac)) return
    this.#compute(view, key, generation)
    this.#known.set(view, key, generation, this.#mac)
  }

  #compute(view: number, key: number, generation: number): void {
    const identity = this.#identity
    identity.writeUInt32BE(VERSION, 0)
    identity.writeUInt32BE(view, 4)
    identity.writeUInt32BE(Math.floor(key / TWO_32), 8)
    identity.writeUInt32BE(key >>> 0, 12)
    identity.writeUInt32BE(generation >>> 0, 16)
    this.#outer.set(hash('sha256', this.#inner, 'buffer'), SHA256_BLOCK_BYTES)
    const mac = hash('sha256', this.#outer, 'buffer')
    for (let i = 0; i < MAC_WORDS; i++) this.#mac[i] = mac.readUInt32BE(4 * i)
  }
}
