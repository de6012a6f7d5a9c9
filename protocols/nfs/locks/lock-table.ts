import { loopBudget } from '../../../overlay-core/index.ts'
import { type ByteRange, EVERYTHING, overlap } from './byte-range.ts'
import { addressOfClient } from './client-address.ts'
import { FileLocks, type Lock, type LockOwner } from './file-locks.ts'

/** A waiting lock request. */
interface Waiter {
  readonly file: string
  readonly wanted: Lock
  /** Called once the lock is granted. */
  readonly granted: () => void
}

/** The limits on locks. */
export interface LockLimits {
  /** For all clients of one address together, whatever names they use. */
  readonly perClient: number
  readonly perFile: number
  /** Of all clients of one address in one file, so that others can still lock it. */
  readonly perFileAndClient: number
  readonly total: number
  readonly waitsPerFile: number
  readonly waits: number
  /** Waits of one address, in one file and in all, so that others can still wait. */
  readonly waitsPerFileAndClient: number
  readonly waitsPerClient: number
  /** The lengths of the names of the owners of all locks, and of those of all clients of one address. */
  readonly ownerBytes: number
  readonly ownerBytesPerClient: number
}

const LIMITS: LockLimits = {
  perClient: 20_000,
  perFile: 5000,
  perFileAndClient: 4000,
  total: 200_000,
  waitsPerFile: 256,
  waits: 2048,
  waitsPerFileAndClient: 192,
  waitsPerClient: 1024,
  ownerBytes: 32 * 1024 * 1024,
  ownerBytesPerClient: 4 * 1024 * 1024,
}

/** The locks of a client. */
interface ClientLocks {
  locks: number
  /** The number of locks per file. */
  readonly files: Map<string, number>
}

/** The number of locks and waits that deadlock detection examines; beyond it a wait is refused. */
const DEADLOCK_STEPS = 10_000
/** The number of files whose locks are released in one turn. */
const FREED_AT_ONCE = 64
/** The number of passes over the waits in one turn; if more can be granted, the next turn of the event loop continues. */
const GRANT_ROUNDS = 4

/** The result of a request; `conflict` is a conflicting lock. */
export type LockResult = { readonly kind: 'granted' | 'full' } | { readonly kind: 'denied'; readonly conflict: Lock }

/**
 * Byte-range locks of all files, for every version of the protocol. Callers choose the strings that identify files. Waiting requests are granted in the
 * order of arrival, once they have no conflicts; a wait that would cause a deadlock is refused.
 */
export class LockTable {
  readonly #files = new Map<string, FileLocks>()
  readonly #waiters = new Map<string, Waiter[]>()
  /** Waiting requests by the key of their owner. */
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #limits: LockLimits
  readonly #endIfGone: (client: string, file: string) => boolean
  /** The locks of each client, updated by `#change`. */
  readonly #clients = new Map<string, ClientLocks>()
  /** Files in which locks of a client must still be released, by client. */
  readonly #freeing = new Map<string, Set<string>>()
  /** The number of locks of all clients of one address. */
  readonly #ofShare = new Map<string, number>()
  /** The lengths of the names of their owners. */
  readonly #ownerBytesOfShare = new Map<string, number>()
  /** Waits of all clients of one address. */
  readonly #waitsOfShare = new Map<string, number>()
  /** The same in one file, by address and file. */
  readonly #ofShareInFile = new Map<string, number>()
  #total = 0
  #ownerBytes = 0
  #waits = 0

  /**
   * `endIfGone` is asked about the client of a lock that is in the way: if it has not been heard of for too long, it loses its locks, those in this file at once, and the result
   * is true.
   */
  constructor(limits: Partial<LockLimits> = {}, endIfGone: (client: string, file: string) => boolean = () => false) {
    this.#limits = { ...LIMITS, ...limits }
    this.#endIfGone = endIfGone
  }

  /** The number of held locks. */
  get size(): number {
    return this.#total
  }

  /** The number of waiting requests. */
  get waiting(): number {
    return this.#waits
  }

  /** All locks by file. Do not modify locks during the iteration. */
  *all(): Generator<{ readonly file: string; readonly lock: Lock }> {
    for (const [file, locks] of this.#files) for (const lock of locks.all()) yield { file, lock }
  }

  /** The number of locks of all clients of one address, by address. */
  get byAddress(): ReadonlyMap<string, number> {
    return this.#ofShare
  }

  /** The locks in a file. */
  of(file: string): Lock[] {
    return [...(this.#files.get(file)?.all() ?? [])]
  }

  /** A lock of another owner that conflicts with `wanted`; undefined if it could be granted. */
  test(file: string, wanted: Lock): Lock | undefined {
    for (;;) {
      const conflict = this.#locks(file, wanted.owner)?.conflict(wanted)
      if (conflict === undefined || !this.#endIfGone(conflict.owner.client, file)) return conflict
    }
  }

  /** Whether the owner already holds the requested lock. */
  holds(file: string, wanted: Lock): boolean {
    return this.#locks(file, wanted.owner)?.covers(wanted) ?? false
  }

  /** Whether an owner has a lock in a file. */
  hasOwner(file: string, owner: LockOwner): boolean {
    return this.#locks(file, owner)?.has(owner) ?? false
  }

  /** Whether a client holds any lock. */
  hasClient(client: string): boolean {
    return this.#clients.has(client)
  }

  /** Takes a lock, or changes the kind of the owner's locks in that range, if there is no conflict. */
  lock(file: string, wanted: Lock): LockResult {
    const conflict = this.test(file, wanted)
    if (conflict !== undefined) return { kind: 'denied', conflict }
    if (this.#isFull(file, wanted.owner)) return { kind: 'full' }
    // From exclusive to shared: others may get it too now.
    if (this.#place(file, wanted)) this.#grantWaiting(file, wanted)
    return { kind: 'granted' }
  }

  #isFull(file: string, { client, key }: LockOwner): boolean {
    const { perClient, perFile, perFileAndClient, total, ownerBytes, ownerBytesPerClient } = this.#limits
    const share = addressOfClient(client)
    if (this.#ownerBytes + key.length > ownerBytes) return true
    if ((this.#ownerBytesOfShare.get(share) ?? 0) + key.length > ownerBytesPerClient) return true
    if (this.#total >= total || (this.#ofShare.get(share) ?? 0) >= perClient) return true
    if ((this.#files.get(file)?.size ?? 0) >= perFile) return true
    return (this.#ofShareInFile.get(`${share} ${file}`) ?? 0) >= perFileAndClient
  }

  /** Releases a range and grants requests that waited for it. */
  unlock(file: string, owner: LockOwner, range: ByteRange): void {
    const locks = this.#locks(file, owner)
    if (locks === undefined) return
    if (this.#change(file, locks, owner.client, () => locks.clear(owner, range))) this.#grantWaiting(file, range)
  }

  /** Waits for a denied lock; `granted` is called once it is granted. Refused if that would be a deadlock. */
  wait(file: string, wanted: Lock, granted: () => void): 'waits' | 'deadlock' | 'full' {
    const others = this.#waiters.get(file) ?? []
    const share = addressOfClient(wanted.owner.client)
    if (this.#isFullOfWaits(others, share)) return 'full'
    const circle = this.#wouldDeadlock(file, wanted)
    if (circle !== 'none') return circle
    const waiter: Waiter = { file, wanted, granted }
    this.#waiters.set(file, [...others, waiter])
    this.#waits++
    count(this.#waitsOfShare, share, 1)
    const own = this.#waiting.get(wanted.owner.key) ?? new Set()
    this.#waiting.set(wanted.owner.key, own.add(waiter))
    return 'waits'
  }

  #isFullOfWaits(inFile: readonly Waiter[], share: string): boolean {
    const { waits, waitsPerFile, waitsPerClient, waitsPerFileAndClient } = this.#limits
    if (this.#waits >= waits || inFile.length >= waitsPerFile) return true
    if ((this.#waitsOfShare.get(share) ?? 0) >= waitsPerClient) return true
    return inFile.filter(({ wanted }) => addressOfClient(wanted.owner.client) === share).length >= waitsPerFileAndClient
  }

  /** Whether such a request is waiting. */
  isWaiting(file: string, wanted: Lock): boolean {
    return this.#waiters.get(file)?.some((waiter) => isSame(waiter.wanted, wanted)) ?? false
  }

  /** Cancels a wait; false if there is none. */
  cancel(file: string, wanted: Lock): boolean {
    return this.#dropWaiters(file, (waiter) => isSame(waiter.wanted, wanted)) > 0
  }

  /**
   * Releases all locks of a client and cancels its waits. Locks in many files are released over several turns of the event loop; before any request of the client meanwhile, its file
   * is released.
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

  /** The locks of a file for a request of `owner`. */
  #locks(file: string, { client }: LockOwner): FileLocks | undefined {
    if (this.#freeing.size > 0) this.#freeFile(client, file)
    return this.#files.get(file)
  }

  /** Returns whether other requests may succeed now. */
  #place(file: string, wanted: Lock): boolean {
    const locks = this.#files.get(file) ?? new FileLocks()
    this.#files.set(file, locks)
    return this.#change(file, locks, wanted.owner.client, () => locks.set(wanted))
  }

  /** Changes the locks of a client in a file and updates the counts. Returns the result of `change`. */
  #change(file: string, locks: FileLocks, client: string, change: () => boolean): boolean {
    const before = { size: locks.size, ownerBytes: locks.ownerBytes }
    const result = change()
    const grown = locks.size - before.size
    const ownersGrown = locks.ownerBytes - before.ownerBytes
    this.#total += grown
    this.#ownerBytes += ownersGrown
    if (locks.size === 0) this.#files.delete(file)
    const held = this.#clients.get(client) ?? { locks: 0, files: new Map<string, number>() }
    held.locks += grown
    const share = addressOfClient(client)
    count(this.#ofShare, share, grown)
    count(this.#ownerBytesOfShare, share, ownersGrown)
    count(this.#ofShareInFile, `${share} ${file}`, grown)
    count(held.files, file, grown)
    if (held.locks === 0) this.#clients.delete(client)
    else this.#clients.set(client, held)
    return result
  }

  /** Grants waiting requests after `freed` was released, one after the other, because each grant affects the next. */
  #grantWaiting(file: string, freed: ByteRange): void {
    let places: ByteRange[] = [freed]
    for (let round = 0; round < GRANT_ROUNDS && places.length > 0; round++) places = this.#grantOnce(file, places)
    if (places.length > 0) setImmediate(() => this.#grantWaiting(file, EVERYTHING))
  }

  /** Passes once over the waiting requests. Returns where more can be granted now. */
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
      count(this.#waitsOfShare, addressOfClient(waiter.wanted.owner.client), -1)
      const own = this.#waiting.get(waiter.wanted.owner.key)
      own?.delete(waiter)
      if (own?.size === 0) this.#waiting.delete(waiter.wanted.owner.key)
    }
    return gone.length
  }

  /** Whether an owner that `wanted` would wait for waits for its owner, directly or indirectly; `full` if the search takes too long. */
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

/** Adds to a number of a map that holds none that are zero. */
function count(numbers: Map<string, number>, key: string, more: number): void {
  const sum = (numbers.get(key) ?? 0) + more
  if (sum === 0) numbers.delete(key)
  else numbers.set(key, sum)
}
