import { hash } from 'node:crypto'
import type { Logger } from 'pino'
import type { Journal } from '../../../overlay-core/index.ts'
import type { RandomBytes } from '../../random.ts'
import { decodeLine, encodeLine, type TokenLine, type TokenRecord } from './token-record.ts'

const SECRET_BYTES = 24
const ID_BYTES = 6
/** So that a secret is recognized wherever it turns up. */
const PREFIX = 'ovl_'
const SECRET = /^ovl_[A-Za-z0-9_-]{32}$/
/** The maximum number of tokens of one user, and of all. */
export const MOST_OF_USER = 100
const MOST = 100_000

/** What a new token is to be. */
export type TokenWish = Omit<TokenRecord, 'id' | 'digest' | 'createdMs'>

/** What a store of tokens needs. */
export interface TokenStoreParts {
  /** Keeps the tokens. */
  readonly journal: Journal
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  readonly log: Logger
}

/** The app passwords and links of all users. They outlive the server. */
export class TokenStore {
  readonly #parts: TokenStoreParts
  readonly #byId = new Map<string, TokenRecord>()
  readonly #byDigest = new Map<string, TokenRecord>()
  readonly #byUser = new Map<string, Set<TokenRecord>>()
  readonly #used = new Set<string>()
  /** How many tokens of each user are being written; they count for the limits. */
  readonly #making = new Map<string, number>()

  constructor(parts: TokenStoreParts) {
    this.#parts = parts
    for (const record of parts.journal.takeRecords()) {
      const line = decodeLine(record)
      if (line !== undefined) this.#apply(line)
    }
    parts.journal.keepShort({
      count: () => this.#byId.size + this.#used.size,
      records: () => this.#live(),
      failed: (error) => parts.log.warn({ err: error }, 'cannot shorten the file of tokens, which goes on growing'),
    })
  }

  /** Makes a token. The secret is returned once and kept nowhere. Undefined: there are too many. @throws Error it cannot be kept */
  async make(wish: TokenWish): Promise<{ readonly token: TokenRecord; readonly secret: string } | undefined> {
    const { random, wallNow, journal } = this.#parts
    this.#dropExpired(wish.user)
    const ofUser = this.#making.get(wish.user) ?? 0
    const making = [...this.#making.values()].reduce((sum, count) => sum + count, 0)
    if (this.listOf(wish.user).length + ofUser >= MOST_OF_USER || this.#byId.size + making >= MOST) return undefined
    const text = Buffer.from(random(SECRET_BYTES)).toString('base64url')
    const secret = wish.kind === 'link' ? text : PREFIX + text
    let id = newId(random)
    while (this.#byId.has(id)) id = newId(random)
    const token: TokenRecord = { ...wish, id, digest: digestOf(secret), createdMs: wallNow() }
    this.#making.set(wish.user, ofUser + 1)
    try {
      await journal.append(encodeLine({ kind: 'made', token }))
    } finally {
      this.#madeOne(wish.user)
    }
    this.#apply({ kind: 'made', token })
    return { token, secret }
  }

  #madeOne(user: string): void {
    const left = (this.#making.get(user) ?? 1) - 1
    if (left === 0) this.#making.delete(user)
    else this.#making.set(user, left)
  }

  /** The app password with this secret: undefined if there is none, or if it has expired. */
  find(secret: string): TokenRecord | undefined {
    return SECRET.test(secret) ? this.#find(secret, 'app') : undefined
  }

  /** The link with this secret: undefined if there is none, or if it has expired. */
  findLink(secret: string): TokenRecord | undefined {
    return this.#find(secret, 'link')
  }

  #find(secret: string, kind: TokenRecord['kind']): TokenRecord | undefined {
    const token = this.#byDigest.get(digestOf(secret))
    return token?.kind !== kind || this.#isExpired(token) ? undefined : token
  }

  /** Notes a use. True for the first. */
  use({ id }: TokenRecord): boolean {
    if (this.#used.has(id)) return false
    this.#used.add(id)
    this.#parts.journal.append(encodeLine({ kind: 'used', id })).catch((error: unknown) => {
      this.#parts.log.warn({ err: error }, 'cannot keep that a token was used')
    })
    return true
  }

  isUsed({ id }: TokenRecord): boolean {
    return this.#used.has(id)
  }

  /** The tokens of a user, the oldest first; also expired ones, until the user makes another. */
  listOf(user: string): readonly TokenRecord[] {
    return [...(this.#byUser.get(user) ?? [])]
  }

  /** The tokens of all users. */
  list(): readonly TokenRecord[] {
    return [...this.#byId.values()]
  }

  byId(id: string): TokenRecord | undefined {
    return this.#byId.get(id)
  }

  /** Takes a token out of use at once, and for ever when it resolves. @throws Error that cannot be kept: it will be valid again after a restart */
  async revoke(token: TokenRecord): Promise<void> {
    const line: TokenLine = { kind: 'revoked', id: token.id }
    this.#apply(line)
    await this.#parts.journal.append(encodeLine(line))
  }

  #isExpired({ expiresMs }: TokenRecord): boolean {
    return expiresMs !== undefined && expiresMs <= this.#parts.wallNow()
  }

  #dropExpired(user: string): void {
    for (const token of this.listOf(user)) {
      if (!this.#isExpired(token)) continue
      this.revoke(token).catch((error: unknown) => {
        this.#parts.log.warn({ err: error }, 'cannot remove an expired token from its file')
      })
    }
  }

  #apply(line: TokenLine): void {
    if (line.kind === 'made') {
      const { token } = line
      this.#byId.set(token.id, token)
      this.#byDigest.set(token.digest, token)
      this.#byUser.set(token.user, (this.#byUser.get(token.user) ?? new Set()).add(token))
      return
    }
    const token = this.#byId.get(line.id)
    if (token === undefined) return
    if (line.kind === 'used') {
      this.#used.add(line.id)
      return
    }
    this.#byId.delete(line.id)
    this.#used.delete(line.id)
    this.#byDigest.delete(token.digest)
    const ofUser = this.#byUser.get(token.user)
    ofUser?.delete(token)
    if (ofUser?.size === 0) this.#byUser.delete(token.user)
  }

  *#live(): Iterable<string> {
    for (const token of this.#byId.values()) {
      yield encodeLine({ kind: 'made', token })
      if (this.#used.has(token.id)) yield encodeLine({ kind: 'used', id: token.id })
    }
  }
}

function newId(random: RandomBytes): string {
  return Buffer.from(random(ID_BYTES)).toString('hex')
}

function digestOf(secret: string): string {
  return hash('sha256', secret, 'base64url')
}
