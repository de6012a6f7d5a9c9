import { loopBudget } from '../../../overlay-core/index.ts'
import { type ByteRange, LAST_BYTE, overlap } from './byte-range.ts'
import { FileLocks, type Lock, type LockOwner } from './file-locks.ts'

const EVERYTHING: ByteRange = { start: 0n, end: LAST_BYTE }

/** A lock that is waited for. */
interface Waiter {
  readonly file: string
  readonly wanted: Lock
  /** Called once, when the lock is in place. */
  readonly granted: () => void
}

/** How many locks there may be. */
export interface LockLimits {
  /** Of all clients of one address, whatever names they give themselves. */
  readonly perClient: number
  readonly perFile: number
  readonly total: number
  readonly waitsPerFile: number
  readonly waits: number
}

const LIMITS: LockLimits = { perClient: 20_000, perFile: 5000, total: 200_000, waitsPerFile: 256, waits: 2048 }

/** What a client holds. */
interface ClientLocks {
  locks: number
  /** How many in each file. */
  readonly files: Map<string, number>
}

/** Locks and waits that the search for a deadlock looks at: beyond it a wait is refused. */
const DEADLOCK_STEPS = 10_000
/** Files whose locks are freed in one go. */
const FREED_AT_ONCE = 64
/** Waits are gone through so often at once; when still more may be granted then, in the next turn of the event loop. */
const GRANT_ROUNDS = 4

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
  /** What each client holds; kept by `#change`. */
  readonly #clients = new Map<string, ClientLocks>()
  /** Files in which locks of a client are still to be freed, by the client. */
  readonly #freeing = new Map<string, Set<string>>()
  /** Locks of all clients of one address. */
  readonly #ofShare = new Map<string, number>()
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
    return this.#locks(file, wanted.owner)?.conflict(wanted)
  }

  /** Whether the owner holds what is wanted already. */
  holds(file: string, wanted: Lock): boolean {
    return this.#locks(file, wanted.owner)?.covers(wanted) ?? false
  }

  /** Whether a client holds any lock. */
  hasClient(client: string): boolean {
    return this.#clients.has(client)
  }

  /** Takes a lock, or changes the kind of what the owner has in that range, when nothing stands in the way. */
  lock(file: string, wanted: Lock): LockResult {
    const conflict = this.test(file, wanted)
    if (conflict !== undefined) return { kind: 'denied', conflict }
    const { perClient, perFile, total } = this.#limits
    const held = this.#ofShare.get(shareOf(wanted.owner.client)) ?? 0
    const inFile = this.#files.get(file)?.size ?? 0
    if (held >= perClient || inFile >= perFile || this.#total >= total) return { kind: 'full' }
    // From exclusive to shared: others may have it too now.
    if (this.#place(file, wanted)) this.#grantWaiting(file, wanted)
    return { kind: 'granted' }
  }

  /** Gives a range up. What waited for it is granted. */
  unlock(file: string, owner: LockOwner, range: ByteRange): void {
    const locks = this.#locks(file, owner)
    if (locks === undefined) return
    if (this.#change(file, locks, owner.client, () => locks.clear(owner, range))) this.#grantWaiting(file, range)
  }

  /** Waits for a lock that was denied; `granted` is called when it is in place. Not when that would never happen: a deadlock. */
  wait(file: string, wanted: Lock, granted: () => void): 'waits' | 'deadlock' | 'full' {
    const others = this.#waiters.get(file) ?? []
    if (others.length >= this.#limits.waitsPerFile || this.#waits >= this.#limits.waits) return 'full'
    const circle = this.#wouldDeadlock(file, wanted)
    if (circle !== 'none') return circle
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

  /**
   * Frees all that a client holds, and ends its waits. What is in many files is freed in turns of the event loop; whatever the client asks for meanwhile finds its file
   * freed.
   */
  freeClient(client: string): void {
    for (const file of [...this.#waiters.keys()])
      this.#dropWaiters(file, (waiter) => waiter.wanted.owner.client === client)
    const held = this.#clients.get(client)
    if (held === undefined || this.#freeing.has(client)) return
    const files = new Set<string>()
    this.#freeing.set(client, files)
    for (const file of held.files.keys()) files.add(file)
    void this.#freeFiles(client, files)
  }

  async #freeFiles(client: string, files: Set<string>): Promise<void> {
    for (const file of files) {
      if (files.size > FREED_AT_ONCE && loopBudget.spent) await loopBudget.rest()
      this.#freeFile(client, file)
    }
    this.#freeing.delete(client)
  }

  #freeFile(client: string, file: string): void {
    if (this.#freeing.get(client)?.delete(file) !== true) return
    const locks = this.#files.get(file)
    if (locks === undefined) return
    this.#change(file, locks, client, () => {
      locks.clearClient(client)
      return true
    })
    this.#grantWaiting(file, EVERYTHING)
  }

  /** The locks of a file as they stand for a request of `owner`. */
  #locks(file: string, { client }: LockOwner): FileLocks | undefined {
    if (this.#freeing.size > 0) this.#freeFile(client, file)
    return this.#files.get(file)
  }

  /** Returns whether others may have something now that they could not before. */
  #place(file: string, wanted: Lock): boolean {
    const locks = this.#files.get(file) ?? new FileLocks()
    this.#files.set(file, locks)
    return this.#change(file, locks, wanted.owner.client, () => locks.set(wanted))
  }

  /** Changes what a client has in a file and keeps the counts. Returns what `change` does. */
  #change(file: string, locks: FileLocks, client: string, change: () => boolean): boolean {
    const before = locks.size
    const result = change()
    const grown = locks.size - before
    this.#total += grown
    if (locks.size === 0) this.#files.delete(file)
    const held = this.#clients.get(client) ?? { locks: 0, files: new Map<string, number>() }
    held.locks += grown
    const share = shareOf(client)
    const ofShare = (this.#ofShare.get(share) ?? 0) + grown
    if (ofShare === 0) this.#ofShare.delete(share)
    else this.#ofShare.set(share, ofShare)
    const inFile = (held.files.get(file) ?? 0) + grown
    if (inFile === 0) held.files.delete(file)
    else held.files.set(file, inFile)
    if (held.locks === 0) this.#clients.delete(client)
    else this.#clients.set(client, held)
    return result
  }

  /** Grants what can be granted now that `freed` is given up, one after the other: each changes what the next one finds. */
  #grantWaiting(file: string, freed: ByteRange): void {
    let places: ByteRange[] = [freed]
    for (let round = 0; round < GRANT_ROUNDS && places.length > 0; round++) places = this.#grantOnce(file, places)
    if (places.length > 0) setImmediate(() => this.#grantWaiting(file, EVERYTHING))
  }

  /** Goes through those that wait once. Returns where more may be had now. */
  #grantOnce(file: string, places: readonly ByteRange[]): ByteRange[] {
    const freed: ByteRange[] = []
    for (const waiter of this.#waiters.get(file) ?? []) {
      const { wanted, granted } = waiter
      if (!places.some((place) => overlap(place, wanted))) continue
      if (this.#files.get(file)?.conflict(wanted) !== undefined) continue
      this.#dropWaiters(file, (other) => other === waiter)
      if (this.#place(file, wanted)) freed.push(wanted)
      granted()
    }
    return freed
  }

  #dropWaiters(file: string, which: (waiter: Waiter) => boolean): number {
    const waiters = this.#waiters.get(file) ?? []
    const gone = waiters.filter(which)
    if (gone.length === 0) return 0
    this.#waits -= gone.length
    const left = waiters.filter((waiter) => !which(waiter))
    if (left.length === 0) this.#waiters.delete(file)
    else this.#waiters.set(file, left)
    for (const waiter of gone) {
      const own = this.#waiting.get(waiter.wanted.owner.key)
      own?.delete(waiter)
      if (own?.size === 0) this.#waiting.delete(waiter.wanted.owner.key)
    }
    return gone.length
  }

  /** Whether one of those whom `wanted` would wait for waits for its owner, directly or through others; `full` when that takes too long to tell. */
  #wouldDeadlock(file: string, wanted: Lock): 'deadlock' | 'none' | 'full' {
    const seen = new Set<string>()
    const next: Pick<Waiter, 'file' | 'wanted'>[] = [{ file, wanted }]
    let steps = 0
    for (let waits = next.pop(); waits !== undefined; waits = next.pop()) {
      for (const { owner } of this.#files.get(waits.file)?.conflicts(waits.wanted) ?? []) {
        if (++steps > DEADLOCK_STEPS) return 'full'
        if (owner.key === wanted.owner.key) return 'deadlock'
        if (seen.has(owner.key)) continue
        seen.add(owner.key)
        for (const waiter of this.#waiting.get(owner.key) ?? []) next.push(waiter)
      }
    }
    return 'none'
  }
}

function isSame(a: Lock, b: Lock): boolean {
  return a.owner.key === b.owner.key && a.start === b.start && a.end === b.end && a.exclusive === b.exclusive
}

/** Whose share of the locks a client's count against: clients are called `ADDRESS NAME`, and make the name up. */
function shareOf(client: string): string {
  const end = client.indexOf(' ')
  return end < 0 ? client : client.slice(0, end)
}
