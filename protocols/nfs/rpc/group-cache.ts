import { LRUCache } from 'lru-cache'
import { AUTH_SYS } from './constants.ts'
import type { Credential } from './credential.ts'
import type { Logger } from './logger.ts'

/** All groups of a user as this machine knows them; undefined when it does not know the user. */
export type GroupsOf = (uid: number) => Promise<readonly number[] | undefined>

const KEEP_MS = 5 * 60_000
/** After a look-up that failed, it is tried again this soon. */
const RETRY_MS = 10_000
const MAX_USERS = 4096

interface User {
  groups: readonly number[]
  untilMs: number
  /** The look-up that runs, which all who ask meanwhile share. */
  pending: Promise<void> | undefined
}

/**
 * Puts the groups that this machine knows for a user in place of those that the client sent, of which AUTH_SYS carries sixteen at most. A user who is not
 * known here has no groups but the primary one.
 */
export class GroupCache {
  readonly #groupsOf: GroupsOf
  readonly #now: () => number
  readonly #log: Logger
  readonly #users = new LRUCache<number, User>({ max: MAX_USERS })

  readonly #isClient: (address: string) => boolean

  /** @param isClient whether anything is exported to an address: others, who may make up users, have nobody looked up */
  constructor(groupsOf: GroupsOf, now: () => number, log: Logger, isClient: (address: string) => boolean) {
    this.#groupsOf = groupsOf
    this.#isClient = isClient
    this.#now = now
    this.#log = log
  }

  /**
   * Sees to it that `credential`, which `address` sent, has the user's groups of now; undefined when it has, or is of no use, else a promise for
   * it, which never rejects.
   */
  apply(credential: Credential, address: string): Promise<void> | undefined {
    if (credential.flavor !== AUTH_SYS) return undefined
    const nowMs = this.#now()
    if (credential.groupsUntilMs > nowMs || !this.#isClient(address)) return undefined
    const user = this.#users.get(credential.uid) ?? this.#add(credential.uid)
    if (user.untilMs > nowMs) return give(user, credential)
    user.pending ??= this.#lookUp(credential.uid, user)
    return user.pending.then(() => give(user, credential))
  }

  #add(uid: number): User {
    const user: User = { groups: [], untilMs: Number.NEGATIVE_INFINITY, pending: undefined }
    this.#users.set(uid, user)
    return user
  }

  async #lookUp(uid: number, user: User): Promise<void> {
    let keepMs = KEEP_MS
    try {
      user.groups = (await this.#groupsOf(uid)) ?? []
    } catch (error) {
      // What was known before stays: a name service that is away for a moment locks nobody out.
      keepMs = RETRY_MS
      this.#log.error({ err: error, uid }, 'cannot look up the groups of a user')
    }
    user.untilMs = this.#now() + keepMs
    user.pending = undefined
  }
}

function give(user: User, credential: Credential): undefined {
  credential.groupsUntilMs = user.untilMs
  credential.groups = user.groups
  // What was derived from the groups of before.
  credential.derived = undefined
}
