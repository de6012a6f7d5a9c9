import { AsyncLocalStorage } from 'node:async_hooks'
import type { LockObserver, LockRank } from '../../overlay-core/base/lock.ts'
import { OvlInode } from '../../overlay-core/objects/dentry.ts'

/** A call of the core. */
export interface ObservedCall {
  /** For messages. */
  readonly what: string
  /** Told each time that the call has got a lock. */
  readonly locked: (rank: LockRank) => void
}

/** What one branch of a call holds: the innermost first; the outermost is the call itself. */
interface Held {
  readonly lock: object
  readonly outer: Held | undefined
  readonly call: ObservedCall
}

interface Made {
  readonly rank: LockRank
  readonly owner: OvlInode | undefined
}

const SOMEBODY: ObservedCall = { what: 'somebody', locked: () => undefined }
const ORDER: readonly LockRank[] = ['shape', 'directory', 'copy', 'node']

/** A lock was about to be taken in another order than the one written in `overlay-core/base/lock.ts`. */
export class LockOrderError extends Error {}

/**
 * Checks the written order at every lock that is taken, and knows who holds and who waits for what: a wrong order is found by the first call
 * that has it, without the deadlock that it could lead to.
 */
export class LockOrder implements LockObserver {
  readonly #made = new WeakMap<object, Made>()
  readonly #calls = new AsyncLocalStorage<Held>()
  readonly #holders = new Map<object, Set<string>>()
  readonly violations: string[] = []
  /** How many locks were taken. */
  taken = 0

  /** Runs a call of the core. */
  observe<T>(call: ObservedCall, work: () => T): T {
    return this.#calls.run({ lock: this, outer: undefined, call }, work)
  }

  made(lock: object, rank: LockRank, owner: object | undefined): void {
    this.#made.set(lock, { rank, owner: owner instanceof OvlInode ? owner : undefined })
  }

  wants(lock: object): void {
    const held = this.#calls.getStore()
    for (let at = held; at; at = at.outer) {
      if (at.lock === this) continue
      const wrong = this.#wrong(at.lock, lock, held as Held)
      if (wrong === undefined) continue
      const message = `${at.call.what}: wants ${this.#name(lock)} while it holds ${this.#name(at.lock)}: ${wrong}`
      this.violations.push(message)
      throw new LockOrderError(message)
    }
  }

  holding<T>(lock: object, work: () => T): T {
    const outer = this.#calls.getStore()
    const call = outer?.call ?? SOMEBODY
    const { what } = call
    this.taken++
    call.locked(this.#rankOf(lock).rank)
    const holders = this.#holders.get(lock) ?? new Set()
    holders.add(what)
    this.#holders.set(lock, holders)
    const result = this.#calls.run({ lock, outer, call }, work)
    const done = () => {
      holders.delete(what)
      if (holders.size === 0) this.#holders.delete(lock)
    }
    if (result instanceof Promise) result.then(done, done)
    else done()
    return result
  }

  /** Who holds what now, for a watchdog. */
  report(): string[] {
    return [...this.#holders].map(([lock, holders]) => `${this.#name(lock)} is held by ${[...holders].join(', ')}`)
  }

  #rankOf(lock: object): Made {
    return this.#made.get(lock) ?? { rank: 'copy', owner: lock instanceof OvlInode ? lock : undefined }
  }

  /** Why `wanted` may not be taken under `held`; undefined when it may. */
  #wrong(held: object, wanted: object, all: Held): string | undefined {
    const [a, b] = [this.#rankOf(held), this.#rankOf(wanted)]
    if (held === wanted) return 'it would wait for itself'
    const [before, after] = [ORDER.indexOf(a.rank), ORDER.indexOf(b.rank)]
    if (before !== after) return before < after ? undefined : `a ${b.rank} comes before a ${a.rank}`
    const [first, second] = [a.owner as OvlInode, b.owner as OvlInode]
    if (a.rank === 'directory') return this.#wrongDirectories(first, second, all)
    if (a.rank === 'copy') return isAbove(second, first) ? undefined : 'a copy-up waits for those above it only'
    return first.key < second.key ? undefined : 'of two objects the one with the smaller key comes first'
  }

  #wrongDirectories(held: OvlInode, wanted: OvlInode, all: Held): string | undefined {
    if (isAbove(held, wanted)) return undefined
    // The order was decided before one of them was removed, and nobody else comes to both any more.
    if (held.unlinked || wanted.unlinked) return undefined
    const parent = wanted.aliases[0]?.dir
    for (let at: Held | undefined = all; at; at = at.outer) {
      const made = this.#made.get(at.lock)
      if (made?.rank === 'directory' && made.owner === parent) return undefined
    }
    if (isAbove(wanted, held)) return 'ancestors come first'
    return held.key < wanted.key ? undefined : 'of two unrelated directories the one with the smaller key comes first'
  }

  #name(lock: object): string {
    const { rank, owner } = this.#rankOf(lock)
    const path: string[] = []
    for (let at = owner; at?.aliases[0]; at = at.aliases[0].dir) path.unshift(at.aliases[0].name)
    return owner ? `the ${rank} of /${path.join('/')} (${owner.key})` : `the ${rank}`
  }
}

/** Whether `ancestor` is a directory on the way from the root to `inode`. */
function isAbove(ancestor: OvlInode, inode: OvlInode): boolean {
  for (let at = inode.aliases[0]?.dir; at; at = at.aliases[0]?.dir) if (at === ancestor) return true
  return false
}
