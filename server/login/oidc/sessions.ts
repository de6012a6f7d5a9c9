import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'

const ID_BYTES = 32
const MOST_SESSIONS = 10_000

/** What sessions need. */
export interface SessionsParts {
  /** How long a session lasts. */
  readonly lastsMs: number
  /** A monotonic clock, in ms. */
  readonly now: () => number
  readonly random: (size: number) => Uint8Array
}

/** The sessions of browsers: which cookie is which user. Only users who have logged in have one; of too many, the one unused for longest ends. */
export class Sessions {
  readonly #parts: SessionsParts
  /** By a hash of the id, so that the memory of the server contains nothing that logs in. */
  readonly #users = new LRUCache<string, { readonly user: string; readonly untilMs: number }>({ max: MOST_SESSIONS })

  constructor(parts: SessionsParts) {
    this.#parts = parts
  }

  /** Begins a session. Returns the value of its cookie. */
  begin(user: string): string {
    const { random, now, lastsMs } = this.#parts
    const id = Buffer.from(random(ID_BYTES)).toString('base64url')
    this.#users.set(keyOf(id), { user, untilMs: now() + lastsMs })
    return id
  }

  /** The user of a cookie; undefined if there is no such session, or it has ended. */
  userOf(id: string): string | undefined {
    const found = this.#users.get(keyOf(id))
    return found !== undefined && found.untilMs > this.#parts.now() ? found.user : undefined
  }

  end(id: string): void {
    this.#users.delete(keyOf(id))
  }
}

function keyOf(id: string): string {
  return hash('sha256', id, 'base64')
}
