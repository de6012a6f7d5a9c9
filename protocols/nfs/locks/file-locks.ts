import { type ByteRange, EVERYTHING, LAST_BYTE, overlap } from './byte-range.ts'
import { RangeIndex } from './range-index.ts'

/** The owner of locks. Owners are equal if their keys are. */
export interface LockOwner {
  readonly key: string
  /** The client (machine) of the owner; all of its locks can be released together. */
  readonly client: string
}

/** A requested or held lock. */
export interface Lock extends ByteRange {
  readonly owner: LockOwner
  readonly exclusive: boolean
}

/** The locks of one owner in a file. */
interface Holdings {
  readonly client: string
  readonly locks: RangeIndex<Lock>
}

/**
 * The byte-range locks of one file with POSIX semantics: locks of one owner never conflict; a new lock replaces the locks that the owner
 * had in its range, splits locks that extend beyond it, and merges with neighbours of the same kind.
 */
export class FileLocks {
  readonly #exclusive = new RangeIndex<Lock>()
  readonly #shared = new RangeIndex<Lock>()
  readonly #owners = new Map<string, Holdings>()
  #ownerBytes = 0

  get size(): number {
    return this.#exclusive.size + this.#shared.size
  }

  /** The length of the name of the owner, for each lock. */
  get ownerBytes(): number {
    return this.#ownerBytes
  }

  /** Whether an owner has a lock. */
  has(owner: LockOwner): boolean {
    return this.#owners.has(owner.key)
  }

  /** All locks. Do not modify locks during the iteration. */
  *all(): Generator<Lock> {
    for (const { locks } of this.#owners.values()) yield* locks.overlapping(EVERYTHING)
  }

  /** All locks of other owners that conflict with `wanted`. Do not modify locks during the iteration. */
  *conflicts(wanted: Lock): Generator<Lock> {
    const { key } = wanted.owner
    for (const lock of this.#exclusive.overlapping(wanted)) if (lock.owner.key !== key) yield lock
    if (!wanted.exclusive) return
    for (const lock of this.#shared.overlapping(wanted)) if (lock.owner.key !== key) yield lock
  }

  /** A conflicting lock. */
  conflict(wanted: Lock): Lock | undefined {
    for (const lock of this.conflicts(wanted)) return lock
    return undefined
  }

  /** Whether the owner of `wanted` already holds such a lock, or a stronger one, on its whole range. */
  covers(wanted: Lock): boolean {
    let next = wanted.start
    for (const lock of this.#owners.get(wanted.owner.key)?.locks.overlapping(wanted) ?? []) {
      if (lock.start > next) return false
      if (lock.exclusive || !wanted.exclusive) next = lock.end + 1n
    }
    return next > wanted.end
  }

  /** Sets a lock, which must have no conflicts. Returns whether it replaced a stronger lock of its owner. */
  set(wanted: Lock): boolean {
    let { start, end } = wanted
    let weakened = false
    const gone: Lock[] = []
    const rest: Lock[] = []
    for (const lock of this.#owners.get(wanted.owner.key)?.locks.overlapping(neighbourhood(wanted)) ?? []) {
      if (lock.exclusive === wanted.exclusive) {
        gone.push(lock)
        if (lock.start < start) start = lock.start
        if (lock.end > end) end = lock.end
      } else if (overlap(lock, wanted)) {
        gone.push(lock)
        rest.push(...without(lock, wanted))
        weakened ||= lock.exclusive
      }
    }
    this.#remove(wanted.owner, gone)
    for (const lock of rest) this.#add(lock)
    this.#add({ owner: wanted.owner, exclusive: wanted.exclusive, start, end })
    return weakened
  }

  /** Releases the range of the owner. Returns whether any of it was locked. */
  clear(owner: LockOwner, range: ByteRange): boolean {
    const gone = [...(this.#owners.get(owner.key)?.locks.overlapping(range) ?? [])]
    this.#remove(owner, gone)
    for (const lock of gone) for (const left of without(lock, range)) this.#add(left)
    return gone.length > 0
  }

  /** Removes all locks of a client. */
  clearClient(client: string): void {
    for (const [key, holdings] of this.#owners) {
      if (holdings.client !== client) continue
      this.#owners.delete(key)
      this.#ownerBytes -= holdings.locks.size * key.length
    }
    this.#exclusive.keep(({ owner }) => owner.client !== client)
    this.#shared.keep(({ owner }) => owner.client !== client)
  }

  #add(lock: Lock): void {
    const { key, client } = lock.owner
    let holdings = this.#owners.get(key)
    if (holdings === undefined) {
      holdings = { client, locks: new RangeIndex() }
      this.#owners.set(key, holdings)
    }
    holdings.locks.add(lock)
    this.#ownerBytes += key.length
    this.#ofKind(lock.exclusive).add(lock)
  }

  /** Removes locks of one owner. */
  #remove(owner: LockOwner, locks: readonly Lock[]): void {
    const holdings = this.#owners.get(owner.key)
    if (holdings === undefined || locks.length === 0) return
    const before = holdings.locks.size
    holdings.locks.remove(locks)
    this.#ownerBytes -= (before - holdings.locks.size) * owner.key.length
    if (holdings.locks.size === 0) this.#owners.delete(owner.key)
    for (const exclusive of [true, false]) {
      this.#ofKind(exclusive).remove(locks.filter((lock) => lock.exclusive === exclusive))
    }
  }

  #ofKind(exclusive: boolean): RangeIndex<Lock> {
    return exclusive ? this.#exclusive : this.#shared
  }
}

/** The range extended by one byte on each side, to find adjacent locks. */
function neighbourhood({ start, end }: ByteRange): ByteRange {
  return { start: start === 0n ? start : start - 1n, end: end === LAST_BYTE ? end : end + 1n }
}

/** The parts of a lock outside of a range. */
function without(lock: Lock, range: ByteRange): Lock[] {
  if (!overlap(lock, range)) return [lock]
  const left: Lock[] = []
  if (lock.start < range.start) left.push({ ...lock, end: range.start - 1n })
  if (lock.end > range.end) left.push({ ...lock, start: range.end + 1n })
  return left
}
