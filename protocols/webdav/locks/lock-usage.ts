import type { ActiveLock } from './lock-store.ts'

/** The memory of a lock besides its texts, and of a name in its path. */
const LOCK_BYTES = 600
const NAME_BYTES = 100

/** How many locks there are, and their memory in bytes, which depends on the lengths of their paths and owners. */
export interface LockUsage {
  readonly locks: number
  readonly bytes: number
}

const NOTHING: LockUsage = { locks: 0, bytes: 0 }

/** The memory that a lock takes, about. */
export function lockBytes({ names, owner }: Pick<ActiveLock, 'names' | 'owner'>): number {
  return names.reduce((sum, name) => sum + NAME_BYTES + name.length, LOCK_BYTES + 2 * owner.length)
}

/** The usage of all users, and of each. */
export class LockUsages {
  readonly #byUser = new Map<number, LockUsage>()
  #total = NOTHING

  get total(): LockUsage {
    return this.#total
  }

  of(user: number): LockUsage {
    return this.#byUser.get(user) ?? NOTHING
  }

  /** Adds a lock, or removes it. */
  count({ user, bytes = 0 }: ActiveLock, change: 1 | -1): void {
    const more = (usage: LockUsage) => ({ locks: usage.locks + change, bytes: usage.bytes + change * bytes })
    this.#total = more(this.#total)
    const held = more(this.of(user))
    if (held.locks === 0) this.#byUser.delete(user)
    else this.#byUser.set(user, held)
  }
}
