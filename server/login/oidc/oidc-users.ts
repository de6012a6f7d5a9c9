import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Journal } from '../../../overlay-core/index.ts'
import type { Account, AccountSource, Verdict } from '../api/account.ts'

const DAY_MS = 86_400_000
/** How long a user is known after the last proof of the provider. */
const KNOWN_DAYS = 90
const MOST_USERS = 100_000

/** What is kept of a user. */
interface Known {
  readonly groups: readonly string[]
  /** The day of the last proof, counted from the epoch. */
  readonly day: number
}

/** What the users of a provider are kept with. */
export interface OidcUsersParts {
  readonly journal: Journal
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  readonly log: Logger
}

/**
 * The users of an OpenID provider. They prove themselves with its tokens, not with a password. A provider cannot be asked about a name, so those who
 * proved themselves are kept for a while: for their app passwords, and for commands.
 */
export class OidcUsers implements AccountSource {
  readonly kind = 'oidc'
  readonly #parts: OidcUsersParts
  readonly #known = new LRUCache<string, Known>({ max: MOST_USERS })
  #changed: () => void = () => undefined

  constructor(parts: OidcUsersParts) {
    this.#parts = parts
    for (const record of parts.journal.takeRecords()) {
      const [name, known] = readRecord(record) ?? []
      if (name !== undefined && known !== undefined) this.#known.set(name, known)
    }
    parts.journal.keepShort({
      count: () => this.#known.size,
      records: () => [...this.#known.entries()].map(([name, known]) => recordOf(name, known)),
      failed: (error) => parts.log.warn({ err: error }, 'cannot shorten the file of users, which goes on growing'),
    })
  }

  /** Keeps a user that a token proved. `groups`: undefined if the token does not say. @throws Error it cannot be kept */
  async keep(name: string, groups: readonly string[] | undefined): Promise<void> {
    const before = this.#known.get(name)
    const known = { groups: groups ?? before?.groups ?? [], day: this.#today() }
    const same = JSON.stringify(before?.groups) === JSON.stringify(known.groups)
    if (same && before?.day === known.day) return
    await this.#parts.journal.append(recordOf(name, known))
    this.#known.set(name, known)
    if (before !== undefined && !same) this.#changed()
  }

  async verify(): Promise<Verdict> {
    return 'unknown'
  }

  async lookup(name: string): Promise<Account | 'unknown'> {
    const known = this.#known.get(name)
    if (known === undefined || this.#today() - known.day > KNOWN_DAYS) return 'unknown'
    return { name, groups: known.groups }
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  async close(): Promise<void> {
    // Whoever opened the journal closes it.
  }

  #today(): number {
    return Math.floor(this.#parts.wallNow() / DAY_MS)
  }
}

function recordOf(name: string, { groups, day }: Known): string {
  return JSON.stringify([name, day, ...groups])
}

function readRecord(record: string): [name: string, known: Known] | undefined {
  try {
    const value: unknown = JSON.parse(record)
    if (!Array.isArray(value)) return undefined
    const [name, day, ...groups] = value as unknown[]
    if (typeof name !== 'string' || typeof day !== 'number') return undefined
    return [name, { day, groups: groups.filter((group) => typeof group === 'string') }]
  } catch {
    return undefined
  }
}
