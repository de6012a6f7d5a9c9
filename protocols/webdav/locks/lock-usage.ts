import { type Holder, holderKey } from './holder.ts'
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

/** The usage of all holders, and of each. */
export class LockUsages {
  readonly #byHolder = new Map<string | number, LockUsage>()
  /** The memory of each lock, by token. */
  readonly #bytes = new Map<string, number>()
  #total = NOTHING

  get total(): LockUsage {
    return this.#total
  }

  of(holder: Holder): LockUsage {
    return this.#byHolder.get(holderKey(holder)) ?? NOTHING
  }

  /** Adds a lock, which is not there yet. */
  add(lock: ActiveLock): void {
    const bytes = lockBytes(lock)
    this.#bytes.set(lock.token, bytes)
    this.#change(lock, 1, bytes)
  }

  /** Removes a lock. Thousands may be removed in one turn. */
  remove(lock: ActiveLock): void {
    const bytes = this.#bytes.get(lock.token) ?? 0
    this.#bytes.delete(lock.token)
    this.#change(lock, -1, -bytes)
  }

  #change(holder: Holder, locks: number, bytes: number): void {
    const more = (usage: LockUsage) => ({ locks: usage.locks + locks, bytes: usage.bytes + bytes })
    this.#total = more(this.#total)
    const held = more(this.of(holder))
    if (held.locks === 0) this.#byHolder.delete(holderKey(holder))
    else this.#byHolder.set(holderKey(holder), held)
  }
}

/** The memory that a lock takes, about. */
function lockBytes({ names, owner }: ActiveLock): number {
  return names.reduce((sum, name) => sum + NAME_BYTES + name.length, LOCK_BYTES + 2 * owner.length)
}
