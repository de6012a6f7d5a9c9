import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Account, AccountIds, AccountSource, Verdict } from './api/account.ts'
import type { Role } from './api/roles.ts'
import { AttemptLimits } from './attempt-limits.ts'
import type { Audit, Proof } from './audit.ts'
import type { UserIds } from './ids/user-ids.ts'
import { MOST_PASSWORD_BYTES } from './passwords/password-hash.ts'
import type { RoleList } from './role-list.ts'
import { MOST_NAME_BYTES } from './sources/password-lines.ts'
import type { TokenRecord } from './tokens/token-record.ts'
import type { TokenStore } from './tokens/token-store.ts'

/** How long a verified secret is remembered. */
const REMEMBERED_MS = 60_000
const MOST_REMEMBERED = 10_000

/** A user who has logged in. */
export interface User {
  readonly name: string
  /** Undefined if it has none on this machine. */
  readonly ids: AccountIds | undefined
  /** What it is everywhere; see `RoleList.ofTemplate` for owners. */
  readonly roles: readonly Role[]
  /** The names of its groups. */
  readonly groups: readonly string[]
  /** The token that it came with, and that it is limited to; undefined: it came with a password or other proof. */
  readonly token?: TokenRecord
  /** The maximum size of all its views together, in bytes; undefined if its source does not say. */
  readonly quotaBytes: number | undefined
}

/** What a login ended with: the user; a refusal; or that nobody can tell at present, so that the client should try again. */
export type LoginResult =
  | { readonly user: User }
  | { readonly refused: 'wrong' }
  | { readonly refused: 'too many'; readonly retryAfterSec: number }
  | { readonly refused: 'unavailable'; readonly retryAfterSec: number }

/** What a login is made of. */
export interface LoginParts {
  /** In the order in which they are asked. */
  readonly sources: readonly AccountSource[]
  readonly ids: UserIds
  readonly tokens: TokenStore
  /** Whether a password is that of a hash. Rejects if there are too many. */
  readonly checkPassword: (client: string, password: string, hash: string) => Promise<boolean>
  readonly roles: RoleList
  readonly audit: Audit
  readonly log: Logger
  /** A monotonic clock, in ms. */
  readonly now: () => number
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** A random key of this run, under which secrets are remembered. */
  readonly key: Uint8Array
}

/** Verifies who somebody is: by a name and a secret, or by a name that was proved otherwise. Remembers it for a minute. */
export class Login {
  #parts: LoginParts
  readonly #key: string
  readonly #limits: AttemptLimits
  /** By a keyed hash of name and secret. */
  readonly #verified = new LRUCache<string, { readonly user: User; readonly untilMs: number }>({ max: MOST_REMEMBERED })
  /** By name, for users who need no secret. */
  readonly #found = new LRUCache<string, { readonly user: User; readonly untilMs: number }>({ max: MOST_REMEMBERED })
  /** Verifications that run, by the same hash and the address, so that many requests with one secret cost one. */
  readonly #running = new Map<string, Promise<LoginResult>>()
  /** The questions to sources that run. */
  readonly #asking = new Set<Promise<Verdict>>()
  /** Counts the changes of sources, so that nothing is remembered that was verified before one. */
  #version = 0

  constructor(parts: LoginParts) {
    this.#parts = parts
    this.#key = Buffer.from(parts.key).toString('base64')
    this.#limits = new AttemptLimits(parts.now)
    for (const source of parts.sources) source.onChange(() => this.forget())
  }

  /** Asks other sources from now on, and gives other roles. Everybody is verified again. Resolves when the earlier sources, which it returns, may be closed. */
  async replace(sources: readonly AccountSource[], roles: RoleList): Promise<readonly AccountSource[]> {
    const earlier = this.#parts.sources
    this.#parts = { ...this.#parts, sources, roles }
    for (const source of sources) source.onChange(() => this.forget())
    this.forget()
    await Promise.allSettled([...this.#asking])
    return earlier
  }

  /** Forgets all that was verified, because accounts have changed. */
  forget(): void {
    this.#version++
    this.#verified.clear()
    this.#found.clear()
  }

  /** The user that was verified with this secret less than a minute ago. `credentials`: both, in any form that is always the same. */
  remembered(credentials: string): User | undefined {
    const known = this.#verified.get(this.#keyOf('field', credentials))
    return known !== undefined && known.untilMs > this.#parts.now() ? known.user : undefined
  }

  /** Verifies a name and a secret. `credentials`: as for `remembered`. Never rejects. */
  verify(credentials: string, name: string, secret: string, address: string): Promise<LoginResult> {
    const key = this.#keyOf('field', credentials)
    return this.#once(`${key} ${address}`, () => this.#verify(key, name, secret, address))
  }

  /** Like `verify`, for a proof that needs no name: whom it proves, and for how long. Only a bearer token is `remembered`. Never rejects. */
  prove(
    credentials: string,
    address: string,
    kind: Proof,
    proof: () => Promise<{ readonly name: string; readonly forMs: number } | 'wrong' | 'unavailable'>,
  ): Promise<LoginResult> {
    const key = this.#keyOf(kind === 'bearer' ? 'field' : kind, credentials)
    return this.#once(`${key} ${address}`, () => this.#prove(key, address, kind, proof))
  }

  /** Begins a verification, or waits for the same one if it runs. */
  #once(task: string, work: () => Promise<LoginResult>): Promise<LoginResult> {
    const running = this.#running.get(task)
    if (running !== undefined) return running
    const started = work().finally(() => this.#running.delete(task))
    this.#running.set(task, started)
    return started
  }

  async #prove(key: string, address: string, kind: Proof, proof: Parameters<Login['prove']>[3]): Promise<LoginResult> {
    const { audit, now } = this.#parts
    const retryAfterSec = this.#limits.begin(address, '')
    if (retryAfterSec !== undefined) {
      audit.refusedLogin(undefined, address, 'too many')
      return { refused: 'too many', retryAfterSec }
    }
    const version = this.#version
    const proved = await proof()
    const result =
      typeof proved === 'object' ? await this.lookup(proved.name) : proved === 'wrong' ? WRONG : UNAVAILABLE
    if ('user' in result && typeof proved === 'object') {
      this.#limits.end(address, '', 'right')
      const untilMs = now() + Math.min(REMEMBERED_MS, proved.forMs)
      // A session has an id of its own from now on; the address by which it began opens nothing.
      if (version === this.#version && kind !== 'session') this.#verified.set(key, { user: result.user, untilMs })
      audit.seen(result.user, address, kind)
      return result
    }
    const wrong = 'refused' in result && result.refused === 'wrong'
    this.#limits.end(address, '', wrong ? 'wrong' : 'unsaid')
    audit.refusedLogin(undefined, address, `${kind} ${wrong ? 'wrong' : 'unavailable'}`)
    return result
  }

  /** The link of a secret; undefined if there is none, or if it has expired. */
  link(secret: string): TokenRecord | undefined {
    return this.#parts.tokens.findLink(secret)
  }

  /** The user of a link, limited to it, if `password` is that of the link or it has none. Remembered like a user without a secret. Never rejects. */
  async verifyLink(token: TokenRecord, password: string | undefined, address: string): Promise<LoginResult> {
    const given = token.password === undefined || password === undefined ? '' : `with ${password}`
    const key = this.#keyOf('link', `${token.id} ${given}`)
    const known = this.#verified.get(key)
    if (known !== undefined && known.untilMs > this.#parts.now()) return { user: known.user }
    const refusal = await this.#refuseLink(token, password, address)
    if (refusal !== undefined) return refusal
    const version = this.#version
    const found = await this.lookup(token.user)
    if ('refused' in found) return found
    const { audit, tokens } = this.#parts
    // Whoever has the link is not its user, who may be an admin.
    const user: User = { ...found.user, token, roles: found.user.roles.filter((role) => role !== 'admin') }
    if (version === this.#version) this.#verified.set(key, this.#remember(user))
    if (tokens.use(token))
      audit.token('first used', { user: token.user, client: address, id: token.id, name: token.name })
    return { user }
  }

  /** Checks the password of a link. Wrong ones count as those of accounts do. */
  async #refuseLink(
    { id, password: wanted }: TokenRecord,
    password: string | undefined,
    address: string,
  ): Promise<Exclude<LoginResult, { user: unknown }> | undefined> {
    if (wanted === undefined) return undefined
    if (password === undefined) return { refused: 'wrong' }
    const account = `link ${id}`
    const retryAfterSec = this.#limits.begin(address, account)
    if (retryAfterSec !== undefined) return { refused: 'too many', retryAfterSec }
    const right = await this.#parts.checkPassword(address, password, wanted).catch(() => undefined)
    this.#limits.end(address, account, right === undefined ? 'unsaid' : right ? 'right' : 'wrong')
    if (right === undefined) return UNAVAILABLE
    if (!right) this.#parts.audit.refusedLogin(undefined, address, `wrong password of ${account}`)
    return right ? undefined : { refused: 'wrong' }
  }

  /** The user of this name, who was proved by other means than a secret. Undefined if no source knows it. Never rejects. */
  async lookup(name: string): Promise<LoginResult> {
    const known = this.#found.get(name)
    if (known !== undefined && known.untilMs > this.#parts.now()) return { user: known.user }
    if (Buffer.byteLength(name) > MOST_NAME_BYTES) return { refused: 'wrong' }
    const version = this.#version
    const result = await this.#userOf(await this.#ask(name, (source) => source.lookup(name)))
    if ('user' in result && version === this.#version) this.#found.set(name, this.#remember(result.user))
    return result
  }

  async close(): Promise<void> {
    for (const source of this.#parts.sources) await source.close()
    await this.#parts.audit.close()
  }

  async #verify(key: string, name: string, secret: string, address: string): Promise<LoginResult> {
    const { audit } = this.#parts
    const possible = Buffer.byteLength(name) <= MOST_NAME_BYTES && Buffer.byteLength(secret) <= MOST_PASSWORD_BYTES
    const account = possible ? name : ''
    const retryAfterSec = this.#limits.begin(address, account)
    if (retryAfterSec !== undefined) {
      audit.refusedLogin(undefined, address, 'too many')
      return { refused: 'too many', retryAfterSec }
    }
    const version = this.#version
    const token = possible ? this.#tokenOf(name, secret) : undefined
    const question = (source: AccountSource) =>
      token === undefined ? source.verify(name, secret, address) : source.lookup(name)
    const answer = possible ? await this.#ask(name, question) : 'unknown'
    // The token is that of a name; a source may know somebody else by it.
    const other = token !== undefined && typeof answer === 'object' && answer.name !== token.user
    const verdict = other ? 'wrong' : answer
    const found = await this.#userOf(verdict)
    const result = token !== undefined && 'user' in found ? { user: { ...found.user, token } } : found
    if ('user' in result) {
      this.#limits.end(address, account, 'right')
      if (version === this.#version) {
        this.#verified.set(key, this.#remember(result.user))
        if ('user' in found) this.#found.set(found.user.name, this.#remember(found.user))
      }
      audit.login(result.user.name, address, token === undefined ? 'password' : 'token')
      if (token !== undefined && this.#parts.tokens.use(token))
        audit.token('first used', { user: token.user, client: address, id: token.id, name: token.name })
    } else {
      this.#limits.end(address, account, result.refused === 'wrong' ? 'wrong' : 'unsaid')
      // A name that is not known may be a password in the wrong field.
      const known = verdict === 'wrong' ? account : undefined
      audit.refusedLogin(known, address, typeof verdict === 'string' ? verdict : result.refused)
    }
    return result
  }

  /** The token that is the secret of this user. */
  #tokenOf(name: string, secret: string): TokenRecord | undefined {
    const token = this.#parts.tokens.find(secret)
    return token?.user === name ? token : undefined
  }

  /** Asks the sources in their order: the first that knows the name decides. */
  #ask(name: string, question: (source: AccountSource) => Promise<Verdict>): Promise<Verdict> {
    const asking = this.#askInOrder(name, question).finally(() => this.#asking.delete(asking))
    this.#asking.add(asking)
    return asking
  }

  async #askInOrder(name: string, question: (source: AccountSource) => Promise<Verdict>): Promise<Verdict> {
    const { sources, log } = this.#parts
    let silent = false
    for (const [at, source] of sources.entries()) {
      const verdict = await question(source)
      if (typeof verdict === 'object') {
        if (verdict.name === name) return verdict
        const taken = await this.#isTaken(verdict.name, sources.slice(0, at))
        if (taken === undefined) return verdict
        log.warn({ user: verdict.name, source: source.kind }, 'an earlier source may have another account of this name')
        return taken
      }
      if (verdict === 'unavailable') silent = true
      else if (verdict === 'wrong') return silent ? 'unavailable' : 'wrong'
    }
    return silent ? 'unavailable' : 'unknown'
  }

  /** A source may know somebody by another name than was given. Says what to answer if that name is one of an earlier source. */
  async #isTaken(name: string, earlier: readonly AccountSource[]): Promise<'wrong' | 'unavailable' | undefined> {
    for (const source of earlier) {
      const known = await source.lookup(name)
      if (typeof known === 'object') return 'wrong'
      if (known === 'unavailable') return known
    }
    return undefined
  }

  async #userOf(verdict: Verdict | Account): Promise<LoginResult> {
    const { ids, roles, log } = this.#parts
    if (verdict === 'unavailable') return UNAVAILABLE
    if (typeof verdict === 'string') return { refused: 'wrong' }
    try {
      const { name, groups, quotaBytes } = verdict
      return { user: { name, groups, quotaBytes, ids: await ids.of(verdict), roles: roles.of(name, groups) } }
    } catch (error) {
      log.error({ err: error, user: verdict.name }, 'cannot find the user id of an account')
      return UNAVAILABLE
    }
  }

  /** What is remembered of a secret. Each kind has keys of its own, so that a client cannot write in one field what was verified in another. */
  #keyOf(kind: 'field' | 'link' | Proof, secret: string): string {
    return hash('sha256', `${this.#key}${kind} ${secret}`, 'base64')
  }

  #remember(user: User): { readonly user: User; readonly untilMs: number } {
    const { now, wallNow } = this.#parts
    const leftMs = (user.token?.expiresMs ?? Number.POSITIVE_INFINITY) - wallNow()
    return { user, untilMs: now() + Math.min(REMEMBERED_MS, leftMs) }
  }
}

const WRONG: LoginResult = { refused: 'wrong' }
const UNAVAILABLE = { refused: 'unavailable', retryAfterSec: 5 } as const
