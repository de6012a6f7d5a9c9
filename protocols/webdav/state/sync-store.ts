import type { LargeMap } from '../../../overlay-core/index.ts'

/** The state of a collection when a sync token was issued: a signature of each member by name. Immutable. */
export type Snapshot = Pick<LargeMap<string, string>, 'get' | 'size' | 'keys' | typeof Symbol.iterator>

interface Kept {
  readonly place: string
  readonly members: Snapshot
}

/**
 * The collection states of sync tokens (RFC 6578), limited in total members; the least recently used one is evicted first. They end with
 * the process: a client with an older token gets an error and starts over, as the RFC specifies.
 */
export class SyncStore {
  readonly #prefix: string
  readonly #maxMembers: number
  readonly #kept = new Map<string, Kept>()
  #members = 0
  #given = 0

  /** @param prefix the prefix of all tokens: a URI that no other run of the server uses */
  constructor(prefix: string, maxMembers: number) {
    this.#prefix = prefix
    this.#maxMembers = maxMembers
  }

  /** The state of `token` at `place`; undefined if it was never issued there, or has been evicted. */
  find(place: string, token: string): Snapshot | undefined {
    const kept = this.#kept.get(token)
    if (kept?.place !== place) return undefined
    this.#kept.delete(token)
    this.#kept.set(token, kept)
    return kept.members
  }

  /** Stores a state and returns a token for it. */
  keep(place: string, members: Snapshot): string {
    const token = `${this.#prefix}${++this.#given}`
    this.#kept.set(token, { place, members })
    this.#members += members.size + 1
    for (const [oldest, { members: old }] of this.#kept) {
      if (this.#members <= this.#maxMembers || oldest === token) break
      this.#kept.delete(oldest)
      this.#members -= old.size + 1
    }
    return token
  }
}
