import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'

const ID_BYTES = 32
const MOST_SESSIONS = 10_000
/** The memory for the ID tokens of sessions, in characters, and the longest that is kept. A session without one can end at the provider too, which then asks who it is. */
const MOST_HINT_CHARS = 8 * 1024 * 1024
const LONGEST_HINT_CHARS = 8192

/** What sessions need. */
export interface SessionsParts {
  /** A monotonic clock, in ms. */
  readonly now: () => number
  readonly random: (size: number) => Uint8Array
}

/** The sessions of browsers: which cookie is which user. Only users who have logged in have one; of too many, the one unused for longest ends. */
export class Sessions {
  readonly #parts: SessionsParts
  /** By a hash of the id, so that the memory of the server contains nothing that logs in. */
  readonly #users = new LRUCache<string, { readonly user: string; readonly untilMs: number }>({ max: MOST_SESSIONS })
  /** The ID tokens with which sessions began. */
  readonly #hints = new LRUCache<string, string>({
    max: MOST_SESSIONS,
    maxSize: MOST_HINT_CHARS,
    sizeCalculation: ({ length }) => length,
  })

  constructor(parts: SessionsParts) {
    this.#parts = parts
  }

  /** Begins a session that ends after `lastsMs`. `hint`: the ID token that it began with. Returns the value of its cookie. */
  begin(user: string, lastsMs: number, hint?: string): string {
    const { random, now } = this.#parts
    const id = Buffer.from(random(ID_BYTES)).toString('base64url')
    this.#users.set(keyOf(id), { user, untilMs: now() + lastsMs })
    if (hint !== undefined && hint.length <= LONGEST_HINT_CHARS) this.#hints.set(keyOf(id), hint)
    return id
  }

  /** The user of a cookie; undefined if there is no such session, or it has ended. */
  userOf(id: string): string | undefined {
    const found = this.#users.get(keyOf(id))
    return found !== undefined && found.untilMs > this.#parts.now() ? found.user : undefined
  }

  /** Ends a session. Returns its hint, if it is still kept. */
  end(id: string): string | undefined {
    const key = keyOf(id)
    const hint = this.#hints.get(key)
    this.#users.delete(key)
    this.#hints.delete(key)
    return hint
  }

  /** Ends those of a user. Returns how many. */
  endOf(user: string): number {
    const keys = [...this.#users.entries()].filter(([, session]) => session?.user === user).map(([key]) => key)
    for (const key of keys) {
      this.#users.delete(key)
      this.#hints.delete(key)
    }
    return keys.length
  }

  /** Ends all. */
  endAll(): void {
    this.#users.clear()
    this.#hints.clear()
  }
}

function keyOf(id: string): string {
  return hash('sha256', id, 'base64')
}
