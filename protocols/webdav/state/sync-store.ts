import type { LargeMap } from '../../../overlay-core/index.ts'

/** The state of a collection when a sync token was issued: a signature of each member by name. Immutable. */
export type Snapshot = Pick<LargeMap<string, string>, 'get' | 'size' | 'keys' | typeof Symbol.iterator>

interface Kept {
  readonly place: string
  readonly members: Snapshot
  readonly bytes: number
}

/** The memory of an entry of a map, two strings and their headers, besides their characters. */
const ENTRY_BYTES = 120

/** The memory of a member in a snapshot, in bytes. */
export function memberBytes(name: string, signature: string): number {
  return ENTRY_BYTES + name.length + signature.length
}

/**
 * The collection states of sync tokens (RFC 6578), limited in bytes; the least recently used one is evicted first. They end with
 * the process: a client with an older token gets an error and starts over, as the RFC specifies.
 */
export class SyncStore {
  readonly #prefix: string
  readonly #maxBytes: number
  readonly #kept = new Map<string, Kept>()
  #bytes = 0
  #given = 0

  /** @param prefix the prefix of all tokens: a URI that no other run of the server uses */
  constructor(prefix: string, maxBytes: number) {
    this.#prefix = prefix
    this.#maxBytes = maxBytes
  }

  /** The state of `token` at `place`; undefined if it was never issued there, or has been evicted. */
  find(place: string, token: string): Snapshot | undefined {
    const kept = this.#kept.get(token)
    if (kept?.place !== place) return undefined
    this.#kept.delete(token)
    this.#kept.set(token, kept)
    return kept.members
  }

  /** Stores a state that takes `bytes` and returns a token for it. The latest state stays, whatever its size. */
  keep(place: string, members: Snapshot, bytes: number): string {
    const token = `${this.#prefix}${++this.#given}`
    this.#kept.set(token, { place, members, bytes })
    this.#bytes += bytes
    for (const [oldest, old] of this.#kept) {
      if (this.#bytes <= this.#maxBytes || oldest === token) break
      this.#kept.delete(oldest)
      this.#bytes -= old.bytes
    }
    return token
  }
}
