import type { Logger } from 'pino'
import type { IdSource } from '../../../config/index.ts'
import type { Journal } from '../../../overlay-core/index.ts'
import type { Account, AccountIds } from '../api/account.ts'

/** The name service of this machine. */
export interface NameService {
  /** The user and primary group of a login name; undefined if there is no such user. @throws Error it cannot be asked */
  byName(name: string): Promise<{ readonly uid: number; readonly gid: number } | undefined>
  /** All groups of a user. @throws Error it cannot be asked */
  groupsOf(uid: number): Promise<readonly number[] | undefined>
}

/** Where ids of the range are kept, and who else gives ids. */
export interface UserIdParts {
  readonly sources: readonly IdSource[]
  readonly nameService: NameService
  /** Keeps the ids of the range for ever; undefined if there is no range. */
  readonly journal: Journal | undefined
  readonly log: Logger
}

/**
 * The user, group and groups that an account has on this machine: what its source says, or else the first answer of the configured id sources. An id
 * that was given to a name from a range belongs to that name for ever, so that a new account never owns the files of an old one.
 */
export class UserIds {
  readonly #parts: UserIdParts
  readonly #given = new Map<string, number>()
  readonly #taken = new Set<number>()
  /** Ids being given, by name. */
  readonly #giving = new Map<string, Promise<number | undefined>>()

  constructor(parts: UserIdParts) {
    this.#parts = parts
    for (const record of parts.journal?.takeRecords() ?? []) {
      const [name, uid] = readRecord(record) ?? []
      if (name === undefined || uid === undefined || this.#given.has(name)) continue
      this.#given.set(name, uid)
      this.#taken.add(uid)
    }
  }

  /** The ids; undefined if no source gives any. @throws Error the name service cannot be asked, or an id cannot be kept */
  async of(account: Account): Promise<AccountIds | undefined> {
    return account.ids ?? (await this.byName(account.name))
  }

  /** The ids of a name whose source gives none. @throws Error the name service cannot be asked, or an id cannot be kept */
  async byName(name: string): Promise<AccountIds | undefined> {
    for (const source of this.#parts.sources) {
      const ids = source === 'system' ? await this.#fromSystem(name) : await this.#fromRange(name, source)
      if (ids !== undefined) return ids
    }
    return undefined
  }

  async #fromSystem(name: string): Promise<AccountIds | undefined> {
    const { nameService } = this.#parts
    const found = await nameService.byName(name)
    if (found === undefined) return undefined
    return { ...found, groups: (await nameService.groupsOf(found.uid)) ?? [] }
  }

  /** Each name gets a group of its own with the number of its user. */
  async #fromRange(name: string, range: Exclude<IdSource, 'system'>): Promise<AccountIds | undefined> {
    const known = this.#given.get(name)
    const giving = this.#giving.get(name) ?? this.#give(name, range).finally(() => this.#giving.delete(name))
    if (known === undefined) this.#giving.set(name, giving)
    const uid = known ?? (await giving)
    return uid === undefined ? undefined : { uid, gid: uid, groups: [] }
  }

  async #give(name: string, { first, last }: Exclude<IdSource, 'system'>): Promise<number | undefined> {
    const known = this.#given.get(name)
    if (known !== undefined) return known
    for (let uid = first; uid <= last; uid++) {
      if (this.#taken.has(uid)) continue
      this.#taken.add(uid)
      try {
        await this.#parts.journal?.append(JSON.stringify([name, uid]))
      } catch (error) {
        // Perhaps it was written after all: the number is not given to anybody else in this run.
        throw new Error(`the user id ${uid} of ${name} cannot be kept: ${(error as Error).message}`, { cause: error })
      }
      this.#given.set(name, uid)
      return uid
    }
    this.#parts.log.error({ user: name }, `all user ids from ${first} to ${last} are in use; enlarge login.ids`)
    return undefined
  }
}

function readRecord(record: string): [name: string, uid: number] | undefined {
  try {
    const value: unknown = JSON.parse(record)
    if (!Array.isArray(value) || value.length !== 2) return undefined
    const [name, uid] = value
    return typeof name === 'string' && Number.isSafeInteger(uid) ? [name, uid] : undefined
  } catch {
    return undefined
  }
}
