import type { Maybe, Name } from '../../overlay-core/index.ts'
import type { LockKind } from './vocabulary.ts'

/** A lock in force (RFC 4918 section 6). */
export interface ActiveLock {
  /** A URI, unique for ever. */
  readonly token: string
  readonly view: string
  /** Where the lock was taken: its root, with symlinks resolved. */
  readonly names: readonly Name[]
  /** The scope (exclusive or shared), type, and timeout in seconds. */
  readonly kind: LockKind
  /** True for Depth infinity: all below the root is locked too. */
  readonly deep: boolean
  /** The content of `DAV:owner` as the client gave it: XML that stands on its own. */
  readonly owner: string
  /** When it ends unless refreshed, ms since the epoch. */
  readonly expiresMs: number
}

/**
 * Where locks are kept. Questions are answered at once, because they are asked in the middle of a change, under the locks of
 * the core; changes may wait for a disk.
 */
export interface LockStore {
  /** Locks in force. */
  readonly size: number
  /** Those whose scope holds the resource: taken on it, or with depth infinity on a collection above. */
  covering(view: string, names: readonly Name[]): readonly ActiveLock[]
  /** Those taken below the collection, its own not included. */
  below(view: string, names: readonly Name[]): readonly ActiveLock[]
  byToken(token: string): ActiveLock | undefined
  add(lock: ActiveLock): Maybe<void>
  /** Gives the lock with `token` a new life. */
  refresh(token: string, kind: LockKind, expiresMs: number): Maybe<void>
  remove(token: string): Maybe<void>
  /** Ends the locks taken below the collection, and those on itself unless `keepOwn`. */
  removeTree(view: string, names: readonly Name[], keepOwn: boolean): Maybe<void>
}

interface Node {
  readonly children: Map<Name, Node>
  locks: ActiveLock[]
}

function childOf(children: Map<string, Node>, name: string): Node {
  let child = children.get(name)
  if (child === undefined) {
    child = { children: new Map(), locks: [] }
    children.set(name, child)
  }
  return child
}

const NONE: readonly ActiveLock[] = []

/** A LockStore in memory: locks end with the process, which RFC 4918 section 6.6 allows. */
export class MemoryLockStore implements LockStore {
  readonly #now: () => number
  readonly #views = new Map<string, Node>()
  readonly #tokens = new Map<string, ActiveLock>()
  #nextExpiryMs = Number.POSITIVE_INFINITY

  constructor(now: () => number) {
    this.#now = now
  }

  get size(): number {
    this.#expire()
    return this.#tokens.size
  }

  covering(view: string, names: readonly Name[]): readonly ActiveLock[] {
    this.#expire()
    if (this.#tokens.size === 0) return NONE
    const found: ActiveLock[] = []
    let node = this.#views.get(view)
    for (let depth = 0; node !== undefined; depth++) {
      const own = depth === names.length
      for (const lock of node.locks) if (own || lock.deep) found.push(lock)
      if (own) break
      node = node.children.get(names[depth])
    }
    return found
  }

  below(view: string, names: readonly Name[]): readonly ActiveLock[] {
    this.#expire()
    const top = this.#find(view, names)
    if (top === undefined) return NONE
    const found: ActiveLock[] = []
    const open = [...top.children.values()]
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      found.push(...node.locks)
      open.push(...node.children.values())
    }
    return found
  }

  byToken(token: string): ActiveLock | undefined {
    this.#expire()
    return this.#tokens.get(token)
  }

  add(lock: ActiveLock): void {
    this.#tokens.set(lock.token, lock)
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, lock.expiresMs)
    let node = childOf(this.#views, lock.view)
    for (const name of lock.names) node = childOf(node.children, name)
    node.locks.push(lock)
  }

  refresh(token: string, kind: LockKind, expiresMs: number): void {
    const lock = this.#tokens.get(token)
    if (lock === undefined) return
    this.remove(token)
    this.add({ ...lock, kind, expiresMs })
  }

  remove(token: string): void {
    const lock = this.#tokens.get(token)
    if (lock === undefined) return
    this.#tokens.delete(token)
    const node = this.#find(lock.view, lock.names)
    if (node === undefined) return
    node.locks = node.locks.filter((other) => other.token !== token)
    this.#prune(lock.view, lock.names)
  }

  removeTree(view: string, names: readonly Name[], keepOwn: boolean): void {
    if (this.#tokens.size === 0) return
    for (const lock of this.below(view, names)) this.remove(lock.token)
    if (keepOwn) return
    for (const lock of this.#find(view, names)?.locks ?? NONE) this.remove(lock.token)
  }

  #find(view: string, names: readonly Name[]): Node | undefined {
    let node = this.#views.get(view)
    for (let depth = 0; node !== undefined && depth < names.length; depth++) node = node.children.get(names[depth])
    return node
  }

  /** Drops the nodes on the way to `names` that hold nothing any more. */
  #prune(view: string, names: readonly Name[]): void {
    const path: Node[] = []
    let node = this.#views.get(view)
    for (let depth = 0; node !== undefined && depth < names.length; depth++) {
      path.push(node)
      node = node.children.get(names[depth])
    }
    for (let depth = names.length - 1; depth >= 0 && node !== undefined; depth--) {
      if (node.locks.length > 0 || node.children.size > 0) return
      node = path[depth]
      node?.children.delete(names[depth])
    }
  }

  /** Forgets what has ended. Costs nothing until the first of the locks does. */
  #expire(): void {
    if (this.#nextExpiryMs === Number.POSITIVE_INFINITY) return
    const now = this.#now()
    if (now < this.#nextExpiryMs) return
    let next = Number.POSITIVE_INFINITY
    for (const lock of [...this.#tokens.values()]) {
      if (lock.expiresMs <= now) this.remove(lock.token)
      else next = Math.min(next, lock.expiresMs)
    }
    this.#nextExpiryMs = next
  }
}
