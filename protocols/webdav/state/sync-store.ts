import type { LargeMap } from '../../../overlay-core/index.ts'

/** What a collection held when a sync token was given out: a signature for each member by its name. Never changed. */
export type Snapshot = Pick<LargeMap<string, string>, 'get' | 'size' | 'keys' | typeof Symbol.iterator>

interface Kept {
  readonly place: string
  readonly members: Snapshot
}

/**
 * The states of collections that sync tokens stand for (RFC 6578), up to so many members in total; the one used longest ago goes first. They end with
 * the process: a client that comes with a token from before is told so and starts over, which the RFC provides for.
 */
export class SyncStore {
  readonly #prefix: string
  readonly #maxMembers: number
  readonly #kept = new Map<string, Kept>()
  #members = 0
  #given = 0

  /** @param prefix of all tokens: a URI that no other run of the server uses */
  constructor(prefix: string, maxMembers: number) {
    this.#prefix = prefix
    this.#maxMembers = maxMembers
  }

  /** What `token` stands for at `place`; undefined when it was never given out there, or is forgotten. */
  find(place: string, token: string): Snapshot | undefined {
    const kept = this.#kept.get(token)
    if (kept?.place !== place) return undefined
    this.#kept.delete(token)
    this.#kept.set(token, kept)
    return kept.members
  }

  /** Keeps a state and returns the token for it. */
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
