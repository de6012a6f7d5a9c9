import type { Logger } from 'pino'
import type { LdapSettings } from '../../../config/index.ts'
import { FairTurns, TooManyWaiting } from '../../../overlay-core/index.ts'
import { readCaFile, readSecretFile } from '../sources/secret-file.ts'
import { within } from '../sources/within.ts'
import type { LdapLibrary } from './filter-pattern.ts'
import { type LdapAddress, LdapConnection, type LdapEntry, resultCodeOf } from './ldap-connection.ts'

/** How many passwords are verified at once. */
const MOST_BINDS = 8
const MOST_WAITING = 256
/** How long a server that does not answer is left alone. */
const DOWN_MS = 3000

/** What a server needs. */
export interface LdapServerParts {
  readonly library: LdapLibrary
  readonly settings: LdapSettings
  readonly log: Logger
  /** A monotonic clock, in ms. */
  readonly now: () => number
}

/** Asks a server something of the directory, over connections that are kept. */
export interface LdapSession {
  search(
    base: string,
    filter: Parameters<LdapConnection['search']>[1],
    attributes: readonly string[],
    most: number,
  ): Promise<LdapEntry[]>
  /** Whether this is the password of the object. `client`: addresses take turns. */
  bind(client: string, dn: string, password: string): Promise<boolean>
}

/** One of the servers of the directory. */
export class LdapServer implements LdapSession {
  readonly #parts: LdapServerParts
  readonly #url: LdapSettings['urls'][number]
  readonly #turns = new FairTurns(MOST_BINDS, MOST_WAITING)
  /** Connections that verified a password and may verify another. */
  #idle: LdapConnection[] = []
  /** The connection for searches, or that which is being opened. */
  #searching: Promise<LdapConnection> | undefined
  #opening: Promise<LdapConnection> | undefined
  readonly #open = new Set<LdapConnection>()
  #downUntilMs = Number.NEGATIVE_INFINITY
  #down = false
  #closed = false

  constructor(url: LdapSettings['urls'][number], parts: LdapServerParts) {
    this.#url = url
    this.#parts = parts
  }

  /** The answer to a question that asks this server; undefined if it does not answer in time, or lately did not. Never rejects. */
  async ask<Answer>(question: (session: LdapSession) => Promise<Answer>): Promise<Answer | undefined> {
    const { now, log, settings } = this.#parts
    if (this.#closed || now() < this.#downUntilMs) return undefined
    try {
      const answer = await within(settings.timeoutMs, question(this))
      if (this.#down) log.warn({ server: this.#url.text }, 'the LDAP server answers again')
      this.#down = false
      return answer
    } catch (error) {
      if (error instanceof TooManyWaiting || this.#closed) return undefined
      // The server is there and says no to this question.
      if (resultCodeOf(error) !== undefined) {
        log.warn({ err: error, server: this.#url.text }, 'the LDAP server refuses an answer')
        return undefined
      }
      this.#lose(error)
      return undefined
    }
  }

  async search(...question: Parameters<LdapSession['search']>): Promise<LdapEntry[]> {
    const kept = await this.#searching?.catch(() => undefined)
    if (kept?.usable) {
      try {
        return await kept.search(...question)
      } catch (error) {
        if (resultCodeOf(error) !== undefined) throw error
        // The server may have ended a connection that nobody used.
        this.#drop(kept)
      }
    }
    const searching = await this.#searcher(kept)
    return await searching.search(...question)
  }

  bind(client: string, dn: string, password: string): Promise<boolean> {
    return this.#turns.run(client, async () => {
      const kept = this.#idle.pop()
      if (kept?.usable) {
        try {
          return await this.#bindOn(kept, dn, password)
        } catch (error) {
          if (resultCodeOf(error) !== undefined) throw error
        }
      }
      if (kept !== undefined) this.#drop(kept)
      return await this.#bindOn(await this.#connect(), dn, password)
    })
  }

  close(): void {
    this.#closed = true
    for (const connection of this.#open) this.#drop(connection)
  }

  async #bindOn(connection: LdapConnection, dn: string, password: string): Promise<boolean> {
    try {
      const right = await connection.bind(dn, password)
      this.#idle.push(connection)
      return right
    } catch (error) {
      this.#drop(connection)
      throw error
    }
  }

  /** A connection for searches that is not `lost`. Concurrent calls open one. */
  async #searcher(lost: LdapConnection | undefined): Promise<LdapConnection> {
    const present = await this.#searching?.catch(() => undefined)
    if (present !== undefined && present !== lost && present.usable) return present
    if (this.#opening === undefined) {
      this.#opening = this.#openSearcher().finally(() => {
        this.#opening = undefined
      })
      this.#searching = this.#opening
      this.#opening.catch(() => undefined)
    }
    return await this.#opening
  }

  async #openSearcher(): Promise<LdapConnection> {
    const { bindDn, bindPassword, bindPasswordFile } = this.#parts.settings
    const connection = await this.#connect()
    if (bindDn === undefined) return connection
    try {
      const password = bindPassword ?? (await readSecretFile(bindPasswordFile as string))
      if (!(await connection.bind(bindDn, password))) throw new Error(`the server refuses the password of ${bindDn}`)
      return connection
    } catch (error) {
      this.#drop(connection)
      // Nothing can be asked: not the fault of one question.
      throw new Error((error as Error).message, { cause: error })
    }
  }

  async #connect(): Promise<LdapConnection> {
    const { library, settings } = this.#parts
    const { host, port, encrypted } = this.#url
    const encryption: LdapAddress['encryption'] = encrypted ? 'tls' : settings.startTls ? 'starttls' : 'none'
    const ca = settings.caFile === undefined ? undefined : await readCaFile(settings.caFile)
    const connection = await LdapConnection.open(library, { host, port, encryption, ca, timeoutMs: settings.timeoutMs })
    this.#open.add(connection)
    if (this.#closed) this.#drop(connection)
    return connection
  }

  /** Leaves the server alone for a while. */
  #lose(error: unknown): void {
    const { now, log } = this.#parts
    if (!this.#down)
      log.error({ err: error, server: this.#url.text }, 'the LDAP server does not answer; its users cannot log in')
    this.#down = true
    this.#downUntilMs = now() + DOWN_MS
    this.#searching = undefined
    this.#idle = []
    for (const connection of this.#open) this.#drop(connection)
  }

  #drop(connection: LdapConnection): void {
    this.#open.delete(connection)
    connection.close()
  }
}
