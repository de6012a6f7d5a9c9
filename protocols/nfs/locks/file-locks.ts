import { type ByteRange, overlap, touch } from './byte-range.ts'

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

/**
 * The byte-range locks of one file with the semantics of POSIX: locks of one owner never conflict; a new lock takes the place of what the owner
 * had in its range, splits what reaches beyond it, and joins neighbours of its kind.
 */
export class FileLocks {
  #held: readonly Lock[] = []

  get size(): number {
    return this.#held.length
  }

  get held(): readonly Lock[] {
    return this.#held
  }

  /** All locks of others that stand in the way of `wanted`. */
  conflicts(wanted: Lock): Lock[] {
    return this.#held.filter((lock) => inTheWay(lock, wanted))
  }

  /** The first lock that stands in the way. */
  conflict(wanted: Lock): Lock | undefined {
    return this.#held.find((lock) => inTheWay(lock, wanted))
  }

  /** Whether the owner of `wanted` holds such a lock, or a stronger one, on all of its range. */
  covers(wanted: Lock): boolean {
    let next = wanted.start
    const own = this.#held.filter(
      (lock) => lock.owner.key === wanted.owner.key && (lock.exclusive || !wanted.exclusive),
    )
    for (const lock of own.toSorted((a, b) => (a.start < b.start ? -1 : 1))) {
      if (lock.start <= next && lock.end >= next) next = lock.end + 1n
    }
    return next > wanted.end
  }

  /** Puts a lock in place; nothing may stand in its way. */
  set(wanted: Lock): void {
    let { start, end } = wanted
    const rest: Lock[] = []
    for (const lock of this.#held) {
      if (lock.owner.key !== wanted.owner.key) rest.push(lock)
      else if (lock.exclusive === wanted.exclusive && touch(lock, wanted)) {
        if (lock.start < start) start = lock.start
        if (lock.end > end) end = lock.end
      } else rest.push(...without(lock, wanted))
    }
    rest.push({ owner: wanted.owner, exclusive: wanted.exclusive, start, end })
    this.#held = rest
  }

  /** Takes the range away from what the owner holds. */
  clear(owner: LockOwner, range: ByteRange): void {
    this.#held = this.#held.flatMap((lock) => (lock.owner.key === owner.key ? without(lock, range) : [lock]))
  }

  /** Takes all locks of a client away. */
  clearClient(client: string): void {
    this.#held = this.#held.filter((lock) => lock.owner.client !== client)
  }
}

function inTheWay(lock: Lock, wanted: Lock): boolean {
  return lock.owner.key !== wanted.owner.key && (lock.exclusive || wanted.exclusive) && overlap(lock, wanted)
}

/** What is left of a lock outside of a range. */
function without(lock: Lock, range: ByteRange): Lock[] {
  if (!overlap(lock, range)) return [lock]
  const left: Lock[] = []
  if (lock.start < range.start) left.push({ ...lock, end: range.start - 1n })
  if (lock.end > range.end) left.push({ ...lock, start: range.end + 1n })
  return left
}
