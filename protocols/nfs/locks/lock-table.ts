import type { ByteRange } from './byte-range.ts'
import { FileLocks, type Lock, type LockOwner } from './file-locks.ts'

/** A lock that is waited for. */
interface Waiter {
  readonly file: string
  readonly wanted: Lock
  /** Called once, when the lock is in place. */
  readonly granted: () => void
}

/** How many locks there may be. What looks at all locks and waits of a file must not take the event loop for long. */
export interface LockLimits {
  readonly perClient: number
  readonly perFile: number
  readonly total: number
  readonly waitsPerFile: number
  readonly waits: number
}

const LIMITS: LockLimits = { perClient: 20_000, perFile: 5000, total: 200_000, waitsPerFile: 256, waits: 2048 }

/** What became of a request: `conflict` is a lock that stands in its way. */
export type LockResult = { readonly kind: 'granted' | 'full' } | { readonly kind: 'denied'; readonly conflict: Lock }

/**
 * Byte-range locks of all files, for every version of the protocol. Files are named by strings of the caller's choice. Who waits is served in the
 * order of arrival, as soon as nothing stands in the way; a wait that would close a circle of owners waiting for each other is refused.
 */
export class LockTable {
  readonly #files = new Map<string, FileLocks>()
  readonly #waiters = new Map<string, Waiter[]>()
  /** Waiters by the key of their owner. */
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #limits: LockLimits
  /** Locks of each client; kept by `#changed`. */
  readonly #ofClient = new Map<string, number>()
  #total = 0
  #waits = 0

  constructor(limits: LockLimits = LIMITS) {
    this.#limits = limits
  }

  /** Locks held. */
  get size(): number {
    return this.#total
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waits
  }

  /** A lock of another owner that stands in the way of `wanted`, undefined when it could be had. */
  test(file: string, wanted: Lock): Lock | undefined {
    return this.#files.get(file)?.conflict(wanted)
  }

  /** Whether the owner holds what is wanted already. */
  holds(file: string, wanted: Lock): boolean {
    return this.#files.get(file)?.covers(wanted) ?? false
  }

  /** Takes a lock, or changes the kind of what the owner has in that range, when nothing stands in the way. */
  lock(file: string, wanted: Lock): LockResult {
    const conflict = this.test(file, wanted)
    if (conflict !== undefined) return { kind: 'denied', conflict }
    const { perClient, perFile, total } = this.#limits
    const held = this.#ofClient.get(wanted.owner.client) ?? 0
    const inFile = this.#files.get(file)?.size ?? 0
    if (held >= perClient || inFile >= perFile || this.#total >= total) return { kind: 'full' }
    this.#place(file, wanted)
    // From exclusive to shared: others may have it too now.
    if (!wanted.exclusive) this.#grantWaiting(file)
    return { kind: 'granted' }
  }

  /** Gives a range up. What waited for it is granted. */
  unlock(file: string, owner: LockOwner, range: ByteRange): void {
    const locks = this.#files.get(file)
    if (locks === undefined) return
    this.#change(file, locks, () => locks.clear(owner, range))
    this.#grantWaiting(file)
  }

  /** Waits for a lock that was denied; `granted` is called when it is in place. Not when that would never happen: a deadlock. */
  wait(file: string, wanted: Lock, granted: () => void): 'waits' | 'deadlock' | 'full' {
    const others = this.#waiters.get(file) ?? []
    if (others.length >= this.#limits.waitsPerFile || this.#waits >= this.#limits.waits) return 'full'
    if (this.#wouldDeadlock(file, wanted)) return 'deadlock'
    const waiter: Waiter = { file, wanted, granted }
    this.#waiters.set(file, [...others, waiter])
    this.#waits++
    const own = this.#waiting.get(wanted.owner.key) ?? new Set()
    this.#waiting.set(wanted.owner.key, own.add(waiter))
    return 'waits'
  }

  /** Whether such a request waits. */
  isWaiting(file: string, wanted: Lock): boolean {
    return this.#waiters.get(file)?.some((waiter) => isSame(waiter.wanted, wanted)) ?? false
  }

  /** Ends a wait; false when there is none. */
  cancel(file: string, wanted: Lock): boolean {
    return this.#dropWaiters(file, (waiter) => isSame(waiter.wanted, wanted)) > 0
  }

  /** Frees all that a client holds, and ends its waits. */
  freeClient(client: string): void {
    for (const file of [...this.#waiters.keys()])
      this.#dropWaiters(file, (waiter) => waiter.wanted.owner.client === client)
    for (const [file, locks] of [...this.#files]) {
      if (!locks.held.some(({ owner }) => owner.client === client)) continue
      this.#change(file, locks, () => locks.clearClient(client))
      this.#grantWaiting(file)
    }
  }

  #place(file: string, wanted: Lock): void {
    const locks = this.#files.get(file) ?? new FileLocks()
    this.#files.set(file, locks)
    this.#change(file, locks, () => locks.set(wanted))
  }

  /** Changes the locks of a file and keeps the counts. */
  #change(file: string, locks: FileLocks, change: () => void): void {
    this.#count(locks, -1)
    change()
    this.#count(locks, 1)
    if (locks.size === 0) this.#files.delete(file)
  }

  #count({ held }: FileLocks, sign: number): void {
    this.#total += sign * held.length
    for (const { owner } of held) {
      const count = (this.#ofClient.get(owner.client) ?? 0) + sign
      if (count === 0) this.#ofClient.delete(owner.client)
      else this.#ofClient.set(owner.client, count)
    }
  }

  /** Grants what can be granted, one after the other: each changes what the next one finds. */
  #grantWaiting(file: string): void {
    const next = () => this.#waiters.get(file)?.find(({ wanted }) => this.test(file, wanted) === undefined)
    for (let waiter = next(); waiter !== undefined; waiter = next()) {
      const { wanted, granted } = waiter
      this.#dropWaiters(file, (other) => other === waiter)
      this.#place(file, wanted)
      granted()
    }
  }

  #dropWaiters(file: string, which: (waiter: Waiter) => boolean): number {
    const waiters = this.#waiters.get(file) ?? []
    const gone = waiters.filter(which)
    if (gone.length === 0) return 0
    this.#waits -= gone.length
    const left = waiters.filter((waiter) => !gone.includes(waiter))
    if (left.length === 0) this.#waiters.delete(file)
    else this.#waiters.set(file, left)
    for (const waiter of gone) {
      const own = this.#waiting.get(waiter.wanted.owner.key)
      own?.delete(waiter)
      if (own?.size === 0) this.#waiting.delete(waiter.wanted.owner.key)
    }
    return gone.length
  }

  /** Whether one of those whom `wanted` would wait for waits for its owner, directly or through others. */
  #wouldDeadlock(file: string, wanted: Lock): boolean {
    const seen = new Set<string>()
    const next = this.#owners(file, wanted)
    for (let key = next.pop(); key !== undefined; key = next.pop()) {
      if (key === wanted.owner.key) return true
      if (seen.has(key)) continue
      seen.add(key)
      for (const waiter of this.#waiting.get(key) ?? []) next.push(...this.#owners(waiter.file, waiter.wanted))
    }
    return false
  }

  /** The owners that stand in the way of `wanted`. */
  #owners(file: string, wanted: Lock): string[] {
    return (
      this.#files
        .get(file)
        ?.conflicts(wanted)
        .map(({ owner }) => owner.key) ?? []
    )
  }
}

function isSame(a: Lock, b: Lock): boolean {
  return a.owner.key === b.owner.key && a.start === b.start && a.end === b.end && a.exclusive === b.exclusive
}
