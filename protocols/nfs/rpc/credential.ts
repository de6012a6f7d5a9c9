import { Decoder, ownCopy } from '../xdr/decoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { AUTH_NONE, AUTH_SYS } from './constants.ts'

const MAX_MACHINE_NAME = 255
const MAX_GROUPS = 16
/** The number of cached callers per connection: as many users as commonly share one mount. */
const CACHE_SIZE = 16

/** Data that a program derives from a credential and caches with it. Each program that needs this has its own class. */
export abstract class DerivedRights {
  /** Makes the class nominal. */
  protected readonly isDerived = true
}

/** The caller as stated by the client. */
export class Credential {
  readonly flavor: number
  readonly uid: number
  readonly gid: number
  groups: readonly number[]
  /** Until when the groups from this machine are valid (`GroupCache`), in ms of the injected clock. */
  groupsUntilMs = Number.NEGATIVE_INFINITY
  /** Data that programs derived from this credential; dropped when its groups change. */
  derived: DerivedRights | undefined = undefined

  constructor(flavor: number, uid: number, gid: number, groups: readonly number[]) {
    this.flavor = flavor
    this.uid = uid
    this.gid = gid
    this.groups = groups
  }
}

/**
 * Parses the body of an AUTH_SYS credential (RFC 5531 appendix A).
 *
 * @throws XdrError it is truncated, has a machine name over 255 bytes, more than 16 groups, or extra bytes
 */
export function parseAuthSys(body: Buffer): Credential {
  const decoder = new Decoder(body)
  decoder.take(4) // the stamp, arbitrary
  decoder.opaque(MAX_MACHINE_NAME)
  const uid = decoder.u32()
  const gid = decoder.u32()
  const count = decoder.u32()
  if (count > MAX_GROUPS) throw new XdrError(`${count} groups`)
  const groups: number[] = []
  for (let i = 0; i < count; i++) groups.push(decoder.u32())
  if (decoder.remaining > 0) throw new XdrError('extra bytes after the groups')
  return new Credential(AUTH_SYS, uid, gid, groups)
}

/**
 * The credentials of one connection, by their bytes: a known one is found by comparing words, without parsing and
 * without allocation. The stamp is ignored, because some clients increment it.
 */
export class CredentialCache {
  readonly #none = new Credential(AUTH_NONE, 0, 0, [])
  readonly #bodies: DataView[] = []
  readonly #credentials: Credential[] = []
  #next = 0
  #latest = 0

  /** The AUTH_NONE credential of this connection. */
  get none(): Credential {
    return this.#none
  }

  /** The credential with the AUTH_SYS body at `start`…`end` of `bytes`, also accessible as `view`. @throws XdrError */
  authSys(bytes: Buffer, view: DataView, start: number, end: number): Credential {
    const length = end - start
    if (this.#matches(this.#latest, view, start, length)) return this.#credentials[this.#latest]
    for (let i = 0; i < this.#bodies.length; i++) {
      if (this.#matches(i, view, start, length)) {
        this.#latest = i
        return this.#credentials[i]
      }
    }
    const body = ownCopy(bytes.subarray(start, end))
    const credential = parseAuthSys(body)
    this.#latest = this.#next
    this.#bodies[this.#next] = new DataView(body.buffer, body.byteOffset, body.byteLength)
    this.#credentials[this.#next] = credential
    this.#next = (this.#next + 1) % CACHE_SIZE
    return credential
  }

  #matches(index: number, view: DataView, start: number, length: number): boolean {
    const known = this.#bodies[index]
    if (known === undefined || known.byteLength !== length) return false
    for (let i = 4; i < length; i += 4) {
      if (known.getUint32(i) !== view.getUint32(start + i)) return false
    }
    return true
  }
}
