import { LRUCache } from 'lru-cache'
import { AUTH_SYS } from './constants.ts'
import type { Credential } from './credential.ts'
import type { Logger } from './logger.ts'

/** All groups of a user on this machine; undefined if the user is unknown. */
export type GroupsOf = (uid: number) => Promise<readonly number[] | undefined>

const KEEP_MS = 5 * 60_000
/** The interval before a failed lookup is retried. */
const RETRY_MS = 10_000
const MAX_USERS = 4096

interface User {
  groups: readonly number[]
  untilMs: number
  /** The running lookup, which concurrent requests share. */
  pending: Promise<void> | undefined
}

/**
 * Replaces the groups in a credential, of which AUTH_SYS carries at most sixteen, by the user's groups on this machine. A user who is
 * unknown here has only the primary group.
 */
export class GroupCache {
  readonly #groupsOf: GroupsOf
  readonly #now: () => number
  readonly #log: Logger
  readonly #users = new LRUCache<number, User>({ max: MAX_USERS })

  readonly #isClient: (address: string) => boolean

  /** @param isClient whether anything is exported to an address; others may invent users, so theirs are not looked up */
  constructor(groupsOf: GroupsOf, now: () => number, log: Logger, isClient: (address: string) => boolean) {
    this.#groupsOf = groupsOf
    this.#isClient = isClient
    this.#now = now
    this.#log = log
  }

  /**
   * Ensures that `credential`, sent by `address`, has the user's present groups. Undefined if it already has, or needs none; otherwise a promise
   * that never rejects.
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
      // Keep the known groups, so that a short outage of the name service locks nobody out.
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
  // Data derived from the old groups.
  credential.derived = undefined
}
