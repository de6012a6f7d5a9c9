import { type ByteRange, LAST_BYTE, overlap } from './byte-range.ts'
import { RangeIndex } from './range-index.ts'

/** Who holds locks: two owners are the same when their keys are. */
export interface LockOwner {
  readonly key: string
  /** The client (machine) that the owner is on; all of its locks can be freed together. */
  readonly client: string
}

/** What is asked for or held. */
export interface Lock extends ByteRange {
  readonly owner: LockOwner
  readonly exclusive: boolean
}

/** What one owner holds in a file. */
interface Holdings {
  readonly client: string
  readonly locks: RangeIndex<Lock>
}

/**
 * The byte-range locks of one file with the semantics of POSIX: locks of one owner never conflict; a new lock takes the place of what the owner
 * had in its range, splits what reaches beyond it, and joins neighbours of its kind.
 */
export class FileLocks {
  readonly #exclusive = new RangeIndex<Lock>()
  readonly #shared = new RangeIndex<Lock>()
  readonly #owners = new Map<string, Holdings>()

  get size(): number {
    return this.#exclusive.size + this.#shared.size
  }

  /** All locks of others that stand in the way of `wanted`. Nothing may be changed before the last one. */
  *conflicts(wanted: Lock): Generator<Lock> {
    const { key } = wanted.owner
    for (const lock of this.#exclusive.overlapping(wanted)) if (lock.owner.key !== key) yield lock
    if (!wanted.exclusive) return
    for (const lock of this.#shared.overlapping(wanted)) if (lock.owner.key !== key) yield lock
  }

  /** A lock that stands in the way. */
  conflict(wanted: Lock): Lock | undefined {
    for (const lock of this.conflicts(wanted)) return lock
    return undefined
  }

  /** Whether the owner of `wanted` holds such a lock, or a stronger one, on all of its range. */
  covers(wanted: Lock): boolean {
    let next = wanted.start
    for (const lock of this.#owners.get(wanted.owner.key)?.locks.overlapping(wanted) ?? []) {
      if (lock.start > next) return false
      if (lock.exclusive || !wanted.exclusive) next = lock.end + 1n
    }
    return next > wanted.end
  }

  /** Puts a lock in place; nothing may stand in its way. Returns whether a stronger one of its owner gave way to it. */
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

  /** Takes the range away from what the owner holds. Returns whether it held any of it. */
  clear(owner: LockOwner, range: ByteRange): boolean {
    const gone = [...(this.#owners.get(owner.key)?.locks.overlapping(range) ?? [])]
    this.#remove(owner, gone)
    for (const lock of gone) for (const left of without(lock, range)) this.#add(left)
    return gone.length > 0
  }

  /** Takes all locks of a client away. */
  clearClient(client: string): void {
    for (const [key, holdings] of this.#owners) if (holdings.client === client) this.#owners.delete(key)
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
    this.#ofKind(lock.exclusive).add(lock)
  }

  /** Takes locks of one owner out. */
  #remove(owner: LockOwner, locks: readonly Lock[]): void {
    const holdings = this.#owners.get(owner.key)
    if (holdings === undefined || locks.length === 0) return
    holdings.locks.remove(locks)
    if (holdings.locks.size === 0) this.#owners.delete(owner.key)
    for (const exclusive of [true, false]) {
      this.#ofKind(exclusive).remove(locks.filter((lock) => lock.exclusive === exclusive))
    }
  }

  #ofKind(exclusive: boolean): RangeIndex<Lock> {
    return exclusive ? this.#exclusive : this.#shared
  }
}

/** The range with what lies side by side with it. */
function neighbourhood({ start, end }: ByteRange): ByteRange {
  return { start: start === 0n ? start : start - 1n, end: end === LAST_BYTE ? end : end + 1n }
}

/** What is left of a lock outside of a range. */
function without(lock: Lock, range: ByteRange): Lock[] {
  if (!overlap(lock, range)) return [lock]
  const left: Lock[] = []
  if (lock.start < range.start) left.push({ ...lock, end: range.start - 1n })
  if (lock.end > range.end) left.push({ ...lock, start: range.end + 1n })
  return left
}
