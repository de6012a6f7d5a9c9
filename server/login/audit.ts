import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'

/** How somebody proved who it is. */
export type Proof = 'password' | 'token' | 'proxy' | 'certificate' | 'bearer' | 'session'

/** An event. Secrets are never in it, nor names that are not those of accounts, because people type passwords in the wrong field. */
export interface AuditEvent {
  readonly event: 'login' | 'login refused' | 'refused' | 'token made' | 'token first used' | 'token revoked'
  readonly user?: string | undefined
  /** The address of the client. */
  readonly client?: string | undefined
  readonly [detail: string]: string | number | boolean | undefined
}

/** Where the lines of an audit go besides the log. */
export interface AuditFile {
  write(line: string): void
  close(): Promise<void>
}

/** Users without a password log in with every request: those seen lately are not told again. */
const REMEMBERED = 10_000
const AGAIN_MS = 3_600_000
/** A client that tries too often is told of once in this time. */
const FLOOD_MS = 60_000

/** Writes one line about each event that concerns logins: to the log, and to a file of its own if there is one. */
export class Audit {
  readonly #log: Logger
  #file: AuditFile | undefined
  /** The time of day, in ms since the epoch. */
  readonly #wallNow: () => number
  readonly #seen: LRUCache<string, true>

  constructor(log: Logger, wallNow: () => number, file?: AuditFile) {
    this.#log = log
    this.#wallNow = wallNow
    this.#file = file
    this.#seen = new LRUCache({ max: REMEMBERED, ttl: AGAIN_MS })
  }

  /** Writes to another file from now on. Resolves when the earlier one has got its lines. */
  async use(file: AuditFile | undefined): Promise<void> {
    const earlier = this.#file
    this.#file = file
    await earlier?.close()
  }

  login(user: string, client: string, proof: Proof): void {
    this.#tell({ event: 'login', user, client, proof })
  }

  /** A user who proves itself with every request: told once an hour. */
  seen({ name }: { readonly name: string }, client: string, proof: Proof): void {
    const key = `${proof} ${client} ${name}`
    if (this.#seen.has(key)) return
    this.#seen.set(key, true)
    this.login(name, client, proof)
  }

  /** `user`: only if there is such an account. `too many` is told once a minute for each client, because it costs the client nothing to cause it. */
  refusedLogin(user: string | undefined, client: string, reason: string): void {
    const key = `${reason} ${client}`
    if (reason === 'too many' && this.#seen.has(key)) return
    if (reason === 'too many') this.#seen.set(key, true, { ttl: FLOOD_MS })
    this.#tell({ event: 'login refused', user, client, reason })
  }

  /** A user asked for something that it may not do. */
  refused(user: string | undefined, client: string, what: string): void {
    this.#tell({ event: 'refused', user, client, what })
  }

  /** A token was made, used for the first time, or revoked. */
  token(event: 'made' | 'first used' | 'revoked', details: Omit<AuditEvent, 'event'>): void {
    this.#tell({ ...details, event: `token ${event}` })
  }

  async close(): Promise<void> {
    await this.#file?.close()
  }

  #tell(event: AuditEvent): void {
    const bad = event.event.endsWith('refused')
    this.#log[bad ? 'warn' : 'info'](event, bad ? `${event.event}: ${event.reason ?? event.what}` : event.event)
    this.#file?.write(`${JSON.stringify({ time: new Date(this.#wallNow()).toISOString(), ...event })}\n`)
  }
}
