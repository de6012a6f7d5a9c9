import type { Logger } from 'pino'
import type { LdapSettings } from '../../../config/index.ts'
import { OptionError } from '../../../overlay-core/index.ts'
import type { Account, AccountSource, Verdict } from '../api/account.ts'
import { loginNameError } from '../sources/password-lines.ts'
import { accountOf, NoAccount, nameOf, userAttributes } from './entry-account.ts'
import { FilterPattern, type LdapLibrary } from './filter-pattern.ts'
import type { LdapEntry } from './ldap-connection.ts'
import { LdapServer, type LdapSession } from './ldap-server.ts'

/** The users of a directory: searches for the name, and verifies the password by a bind as the object that it finds. */
export class LdapAccounts implements AccountSource {
  readonly kind = 'ldap'
  readonly #settings: LdapSettings
  readonly #log: Logger
  readonly #servers: readonly LdapServer[]
  readonly #userFilter: FilterPattern
  readonly #groupFilter: FilterPattern | undefined

  private constructor(library: LdapLibrary, settings: LdapSettings, log: Logger, now: () => number) {
    this.#settings = settings
    this.#log = log
    this.#servers = settings.urls.map((url) => new LdapServer(url, { library, settings, log, now }))
    this.#userFilter = filterOf(library, 'user_filter', settings.userFilter)
    this.#groupFilter =
      settings.groupFilter === undefined ? undefined : filterOf(library, 'group_filter', settings.groupFilter)
  }

  /** Loads the library. Connects to no server: one that is down must not stop the start. @throws OptionError a filter is none */
  static async open(settings: LdapSettings, log: Logger, now: () => number): Promise<LdapAccounts> {
    return new LdapAccounts(await import('ldapts'), settings, log, now)
  }

  async verify(name: string, secret: string, client: string): Promise<Verdict> {
    if (loginNameError(name) !== undefined) return 'unknown'
    return this.#ask(async (session) => {
      const found = await this.#find(session, name)
      // A server says yes to an empty password (RFC 4513 section 5.1.2).
      if (secret === '') return found === undefined ? 'unknown' : 'wrong'
      const right = await session.bind(client, found?.dn ?? this.#nobody(), secret)
      if (found === undefined) return 'unknown'
      return right ? ((await this.#account(session, found, name)) ?? 'wrong') : 'wrong'
    })
  }

  async lookup(name: string): Promise<Exclude<Verdict, 'wrong'>> {
    if (loginNameError(name) !== undefined) return 'unknown'
    return this.#ask(async (session) => {
      const found = await this.#find(session, name)
      return (found && (await this.#account(session, found, name))) ?? 'unknown'
    })
  }

  onChange(): void {
    // A directory does not tell; what it said is believed for a minute.
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close()
  }

  /** Asks the servers in their order until one answers. */
  async #ask<Answer>(question: (session: LdapSession) => Promise<Answer>): Promise<Answer | 'unavailable'> {
    for (const server of this.#servers) {
      const answer = await server.ask(question)
      if (answer !== undefined) return answer
    }
    return 'unavailable'
  }

  /** The object with this name; undefined if there is none. A name that several have belongs to none. */
  async #find(session: LdapSession, name: string): Promise<LdapEntry | undefined> {
    const { base } = this.#settings
    const found = await session.search(base, this.#userFilter.with({ user: name }), userAttributes(this.#settings), 2)
    if (found.length > 1)
      this.#log.warn(
        { objects: found.map(({ dn }) => dn) },
        'several objects match user_filter, so none of them can log in',
      )
    return found.length === 1 && found[0]?.dn !== '' ? found[0] : undefined
  }

  /** The account of an object; undefined if it is none, and the log says why. */
  async #account(session: LdapSession, entry: LdapEntry, asked: string): Promise<Account | undefined> {
    const { base, groupBase, groupNameAttribute, uidAttribute, gidAttribute } = this.#settings
    try {
      const values = { user: nameOf(entry, asked, this.#settings), dn: entry.dn }
      const attributes = [groupNameAttribute, ...(uidAttribute === undefined ? [] : [gidAttribute])]
      const groups =
        this.#groupFilter === undefined
          ? []
          : // Without a limit, so that the server refuses instead of leaving out a group that takes rights away.
            await session.search(groupBase ?? base, this.#groupFilter.with(values), attributes, 0)
      return accountOf(entry, asked, groups, this.#settings)
    } catch (error) {
      if (!(error instanceof NoAccount)) throw error
      this.#log.warn({ err: error }, 'an object of the directory is no account')
      return undefined
    }
  }

  /** An object that there is not: verifying for it takes about as long as for one that there is. */
  #nobody(): string {
    return `cn=overlayd-no-such-user,${this.#settings.base}`
  }
}

function filterOf(library: LdapLibrary, key: string, text: string): FilterPattern {
  try {
    return new FilterPattern(library, text)
  } catch (error) {
    throw new OptionError(
      `ldap.${key}`,
      `${JSON.stringify(text)} is not a filter (${(error as Error).message}); write one as in RFC 4515`,
    )
  }
}
