import type { Logger } from 'pino'
import { Quota, type QuotaLimits, type QuotaState, type Usage } from '../../overlay-core/index.ts'
import { foldedName } from './view-name.ts'
import { readUsage, type SavedUsage } from './view-quota.ts'

/** A view as its user's quota knows it. */
export interface UsersView {
  readonly id: string
  /** Contains its saved usage; undefined if that is not saved. */
  readonly directory: string | undefined
  /** Opens it for a moment, so that its usage is counted again. */
  readonly recount: () => void
}

/** What the quotas of users work with. */
export interface UserQuotaParts {
  readonly log: Logger
  readonly wallNow: () => number
  /** All views of a user, by the folded name. */
  readonly viewsOf: (user: string) => Iterable<UsersView>
  /** The limits of a user that replace those of everybody; undefined if no account has any. Never rejects. */
  readonly ownLimitsOf?: ((user: string) => Promise<QuotaLimits | undefined | 'unavailable'>) | undefined
}

/** The part of an open view in the quota of its user. */
export interface Membership {
  /** Since when the user is above the soft limits, to be saved with the usage of the view. */
  readonly since: Pick<QuotaState, 'bytesAboveSinceMs' | 'filesAboveSinceMs'>
  /** Ends it; the present usage of the view counts on. */
  leave(): void
}

/** An open view that takes part. */
export interface Member {
  readonly id: string
  readonly quota: Quota
  /** Saves the usage, because the user has come above a soft limit. */
  readonly save: () => void
}

/**
 * The quotas of users over all their views. A user has an account while one of their views is open; it counts the saved usage of the others. So nothing is kept of
 * idle users, and nobody has to open all views of a user.
 */
export class UserQuotas {
  readonly #parts: UserQuotaParts
  #limits: QuotaLimits | undefined
  /** By folded name. */
  readonly #accounts = new Map<string, Account>()

  constructor(limits: QuotaLimits | undefined, parts: UserQuotaParts) {
    this.#limits = limits
    this.#parts = parts
  }

  /** Whether any user may have limits. */
  get isOn(): boolean {
    return this.#limits !== undefined || this.#parts.ownLimitsOf !== undefined
  }

  /** What a user may use. */
  async limitsOf(user: string): Promise<QuotaLimits> {
    const own = await this.#parts.ownLimitsOf?.(user)
    return (own === 'unavailable' ? undefined : own) ?? this.#limits ?? {}
  }

  /** Applies other limits at once. Views that are open without a quota take part when they are opened next. */
  setLimits(limits: QuotaLimits | undefined): void {
    this.#limits = limits
    for (const account of this.#accounts.values()) account.setLimits(limits ?? {})
  }

  /** Counts a view, which is being opened, in the quota of its user. */
  async enter(user: string, member: Member): Promise<Membership> {
    const key = foldedName(user)
    const account = this.#accounts.get(key) ?? new Account(key, user, this.#limits ?? {}, this.#parts)
    this.#accounts.set(key, account)
    account.holds++
    await account.ready
    const own = await this.#parts.ownLimitsOf?.(user)
    if (own !== 'unavailable') account.setOwnLimits(own)
    account.enter(member)
    return {
      get since() {
        return account.since
      },
      leave: () => {
        account.leave(member)
        if (--account.holds === 0) this.#accounts.delete(key)
      },
    }
  }

  /** A view of this user was removed, or has another user now. */
  changed(user: string): void {
    void this.#accounts.get(foldedName(user))?.refresh()
  }

  /** The usage of a user in all views. */
  async stateOf(user: string): Promise<QuotaState> {
    const key = foldedName(user)
    const account = this.#accounts.get(key)
    if (account !== undefined) {
      await account.ready
      return account.quota.state
    }
    const saved = await savedOf(this.#parts, key)
    return { ...sum(saved.values()), ...latest(saved.values()) }
  }
}

/** The quota of a user with an open view. */
class Account {
  /** The number of views that are open or being opened. */
  holds = 0
  /** Resolves when the saved usage is known. */
  readonly ready: Promise<void>
  readonly #key: string
  readonly #parts: UserQuotaParts
  readonly #open = new Map<string, Member>()
  /** What is counted for views that are not open. */
  #closed = new Map<string, Usage>()
  #limits: QuotaLimits
  /** What replaces them for this user. */
  #own: QuotaLimits | undefined
  /** Undefined until the saved usage is known. */
  #quota: Quota | undefined
  /** Counts the views that entered and left. */
  #version = 0

  constructor(key: string, user: string, limits: QuotaLimits, parts: UserQuotaParts) {
    this.#key = key
    this.#limits = limits
    this.#parts = parts
    this.ready = this.#load(user)
  }

  /** Only when it is ready. */
  get quota(): Quota {
    return this.#quota as Quota
  }

  get since(): Membership['since'] {
    const { bytesAboveSinceMs, filesAboveSinceMs } = this.quota.state
    return { bytesAboveSinceMs, filesAboveSinceMs }
  }

  setLimits(limits: QuotaLimits): void {
    this.#limits = limits
    this.#quota?.setLimits(this.#own ?? limits)
  }

  /** Undefined: those of everybody. */
  setOwnLimits(own: QuotaLimits | undefined): void {
    this.#own = own
    this.quota.setLimits(this.#own ?? this.#limits)
  }

  enter(member: Member): void {
    const { id, quota } = member
    this.#version++
    this.#open.set(id, member)
    quota.join(this.quota, this.#closed.get(id) ?? { bytes: 0, files: 0 })
    this.#closed.delete(id)
  }

  leave({ id, quota }: Member): void {
    this.#version++
    quota.leave()
    this.#open.delete(id)
    this.#closed.set(id, quota.state)
  }

  /** Counts the saved usage again. */
  async refresh(): Promise<void> {
    await this.ready
    for (;;) {
      const before = this.#version
      const saved = await savedOf(this.#parts, this.#key)
      if (before !== this.#version) continue
      for (const id of this.#open.keys()) saved.delete(id)
      this.#closed = new Map(saved)
      this.quota.correct(sum([...saved.values(), ...[...this.#open.values()].map(({ quota }) => quota.state)]))
      return
    }
  }

  async #load(user: string): Promise<void> {
    const { log, wallNow, viewsOf } = this.#parts
    const saved = await savedOf(this.#parts, this.#key)
    this.#closed = new Map(saved)
    const aboveSoft = (what: 'bytes' | 'files') => {
      log.warn({ user }, `a user is above the soft limit of ${what} for all views together; remove some files`)
      for (const { save } of this.#open.values()) save()
    }
    const known = { ...sum(saved.values()), ...latest(saved.values()) }
    this.#quota = new Quota(this.#limits, known, false, { wallClockMs: wallNow, aboveSoft })
    for (const view of viewsOf(this.#key)) if (saved.get(view.id)?.clean !== true) view.recount()
  }
}

/** The saved usage of the views of a user, by id. Views that were never counted are not in it. */
async function savedOf({ log, viewsOf }: UserQuotaParts, key: string): Promise<Map<string, SavedUsage>> {
  const found = new Map<string, SavedUsage>()
  for (const { id, directory } of viewsOf(key)) {
    if (directory === undefined) continue
    try {
      const saved = await readUsage(directory)
      if (saved !== undefined) found.set(id, saved)
    } catch (error) {
      log.warn({ err: error, directory }, 'the usage of a view cannot be read, so it is counted again')
    }
  }
  return found
}

function sum(usages: Iterable<Usage>): Usage {
  let [bytes, files] = [0, 0]
  for (const usage of usages) {
    bytes += usage.bytes
    files += usage.files
  }
  return { bytes, files }
}

/** Since when the user is above the soft limits, as saved last. */
function latest(saved: Iterable<SavedUsage>): Membership['since'] {
  let newest: SavedUsage['user']
  for (const { user } of saved) if (user && user.savedMs > (newest?.savedMs ?? 0)) newest = user
  return { bytesAboveSinceMs: newest?.bytesAboveSinceMs, filesAboveSinceMs: newest?.filesAboveSinceMs }
}
