import { loopBudget, type MaybePromise, type Name } from '../../../overlay-core/index.ts'
import type { LockKind } from '../http/vocabulary.ts'
import { ExpiryQueue } from './expiry-queue.ts'

/** Locks that are forgotten within one question: well below a millisecond. What more has ended is left to turns of its own. */
const SLICE = 64
/** The queue of ends is made anew when it has so many more than twice the locks: those of refreshed and removed locks stay in it until then. */
const SLACK = 1000

/** Which file it is, whatever its names (`Inode.key` and `generation`). */
export interface FileId {
  readonly key: number
  readonly generation: number
}

/** A lock in force (RFC 4918 section 6). */
export interface ActiveLock {
  /** A URI, unique for ever. */
  readonly token: string
  readonly view: string
  /** The uid of who took it: the number of locks is bounded for each. */
  readonly user: number
  /** Where the lock was taken: its root, with symlinks resolved. */
  readonly names: readonly Name[]
  /** The file that stood there when it was taken, or was put there since: it is locked at all of its names. Undefined for a collection. */
  readonly file?: FileId | undefined
  /** The scope (exclusive or shared), type, and timeout in seconds. */
  readonly kind: LockKind
  /** True for Depth infinity: all below the root is locked too. */
  readonly deep: boolean
  /** The content of `DAV:owner` as the client gave it: XML that stands on its own. */
  readonly owner: string
  /** When it ends unless refreshed, ms on the clock of the store, which nobody sets. */
  readonly expiresMs: number
}

/** A resource on which locks were taken. */
export interface LockedResource {
  /** Those taken on it: one at least. */
  readonly own: readonly ActiveLock[]
  /** Those with depth infinity taken on collections above. */
  readonly above: readonly ActiveLock[]
}

/**
 * Where locks are kept. Questions are answered at once, because they are asked in the middle of a change, under the locks of
 * the core; changes may wait for a disk.
 */
export interface LockStore {
  /** Locks in force. */
  readonly size: number
  /** Locks of one user in force. */
  heldBy(user: number): number
  /** Those whose scope holds the resource: taken on it, on `file` at any name, or with depth infinity on a collection above. */
  covering(view: string, names: readonly Name[], file?: FileId): readonly ActiveLock[]
  /** Another file has taken the place of the one that the locks taken at `names` were taken on: they bind it from now on. */
  rebind(view: string, names: readonly Name[], file: FileId | undefined): readonly ActiveLock[]
  /** Those taken on the file, at any name. */
  onFile(view: string, file: FileId): readonly ActiveLock[]
  /** Those taken below the collection, its own not included, as they are gone through: not to be held on to over a turn. */
  below(view: string, names: readonly Name[]): Iterable<ActiveLock>
  /**
   * The resources with locks below the collection, its own left out, and what is open to a client that submits `tokens` because the root of a deep lock
   * is. As they are gone through: not to be held on to over a turn.
   */
  lockedBelow(view: string, names: readonly Name[], tokens: ReadonlySet<string>): Iterable<LockedResource>
  byToken(token: string): ActiveLock | undefined
  add(lock: ActiveLock): MaybePromise<void>
  /** Gives the lock with `token` a new life. */
  refresh(token: string, kind: LockKind, expiresMs: number): MaybePromise<void>
  remove(token: string): MaybePromise<void>
  /** Ends the locks taken below the collection, and those on itself unless `keepOwn`. */
  removeTree(view: string, names: readonly Name[], keepOwn: boolean): MaybePromise<void>
}

interface Node {
  readonly children: Map<Name, Node>
  /** By token. */
  readonly locks: Map<string, ActiveLock>
  /** None of the locks on it and below it ends later, ms: where that is over there is nothing to look for. */
  latestMs: number
}

function childOf(children: Map<string, Node>, name: string): Node {
  let child = children.get(name)
  if (child === undefined) {
    child = { children: new Map(), locks: new Map(), latestMs: Number.NEGATIVE_INFINITY }
    children.set(name, child)
  }
  return child
}

const NONE: readonly ActiveLock[] = []
const NO_TOKENS: ReadonlySet<string> = new Set()

function fileKey(view: string, { key, generation }: FileId): string {
  return `${view}/${key}.${generation}`
}

function isDeep({ deep }: ActiveLock): boolean {
  return deep
}

function inForce(locks: ReadonlyMap<string, ActiveLock>, nowMs: number): readonly ActiveLock[] {
  const found: ActiveLock[] = []
  for (const lock of locks.values()) if (lock.expiresMs > nowMs) found.push(lock)
  return found
}

function sameFile(a: FileId | undefined, b: FileId | undefined): boolean {
  return a?.key === b?.key && a?.generation === b?.generation
}

/** A LockStore in memory: locks end with the process. */
export class MemoryLockStore implements LockStore {
  readonly #now: () => number
  readonly #views = new Map<string, Node>()
  readonly #tokens = new Map<string, ActiveLock>()
  readonly #byUser = new Map<number, number>()
  /** Locks on files, by view and file. */
  readonly #files = new Map<string, Map<string, ActiveLock>>()
  readonly #ends = new ExpiryQueue()
  /** Locks that count: those that end after `#uncountedMs`. Those that ended before are no more than not yet forgotten. */
  #live = 0
  #uncountedMs = Number.NEGATIVE_INFINITY
  /** No lock that counts ends earlier. */
  #nextEndMs = Number.POSITIVE_INFINITY
  #sweeping = false

  constructor(now: () => number) {
    this.#now = now
  }

  get size(): number {
    this.#expire()
    return this.#live
  }

  heldBy(user: number): number {
    this.#expire()
    return this.#byUser.get(user) ?? 0
  }

  covering(view: string, names: readonly Name[], file?: FileId): readonly ActiveLock[] {
    const nowMs = this.#expire()
    if (this.#live === 0) return NONE
    const found: ActiveLock[] = []
    let node = this.#views.get(view)
    for (let depth = 0; node !== undefined; depth++) {
      const own = depth === names.length
      for (const lock of node.locks.values()) if ((own || lock.deep) && lock.expiresMs > nowMs) found.push(lock)
      if (own) break
      node = node.children.get(names[depth])
    }
    if (file === undefined) return found
    for (const lock of this.#onFile(view, file, nowMs)) if (!found.includes(lock)) found.push(lock)
    return found
  }

  onFile(view: string, file: FileId): readonly ActiveLock[] {
    return this.#onFile(view, file, this.#expire())
  }

  #onFile(view: string, file: FileId, nowMs: number): readonly ActiveLock[] {
    const locks = this.#files.get(fileKey(view, file))
    return locks === undefined ? NONE : inForce(locks, nowMs)
  }

  rebind(view: string, names: readonly Name[], file: FileId | undefined): readonly ActiveLock[] {
    if (this.#live === 0) return NONE
    const changed = this.#own(view, names, this.#expire())
      .filter((lock) => !sameFile(lock.file, file))
      .map((lock) => ({ ...lock, file }))
    for (const lock of changed) this.#put(lock)
    return changed
  }

  *below(view: string, names: readonly Name[]): Generator<ActiveLock, undefined> {
    for (const { own } of this.lockedBelow(view, names, NO_TOKENS)) yield* own
  }

  *lockedBelow(
    view: string,
    names: readonly Name[],
    tokens: ReadonlySet<string>,
  ): Generator<LockedResource, undefined> {
    const nowMs = this.#expire()
    const top = this.#find(view, names)
    if (top === undefined || top.latestMs <= nowMs) return
    const open = [{ nodes: top.children.values(), above: this.covering(view, names).filter(isDeep) }]
    for (let level = open.at(-1); level !== undefined; level = open.at(-1)) {
      const { value: node } = level.nodes.next()
      if (node === undefined) open.pop()
      else if (node.latestMs > nowMs) {
        const own = inForce(node.locks, nowMs)
        if (own.some((lock) => lock.deep && tokens.has(lock.token))) continue
        const { above } = level
        if (own.length > 0) yield { own, above }
        if (node.children.size === 0) continue
        open.push({
          nodes: node.children.values(),
          above: own.some(isDeep) ? [...above, ...own.filter(isDeep)] : above,
        })
      }
    }
  }

  byToken(token: string): ActiveLock | undefined {
    const nowMs = this.#expire()
    const lock = this.#tokens.get(token)
    return lock !== undefined && lock.expiresMs > nowMs ? lock : undefined
  }

  /** All in force, in no order. */
  all(): ActiveLock[] {
    const nowMs = this.#expire()
    return [...this.#tokens.values()].filter(({ expiresMs }) => expiresMs > nowMs)
  }

  /** The locks taken at the name itself. */
  #own(view: string, names: readonly Name[], nowMs: number): readonly ActiveLock[] {
    const locks = this.#find(view, names)?.locks
    return locks === undefined ? NONE : inForce(locks, nowMs)
  }

  /** Counts a lock in, or out, unless it ended before those that count. */
  #count({ user, expiresMs }: ActiveLock, change: 1 | -1): void {
    if (expiresMs <= this.#uncountedMs) return
    this.#live += change
    const held = (this.#byUser.get(user) ?? 0) + change
    if (held === 0) this.#byUser.delete(user)
    else this.#byUser.set(user, held)
  }

  /** Puts a lock in the place of what is kept under its token. */
  #put(lock: ActiveLock): void {
    const before = this.#tokens.get(lock.token)
    if (before !== undefined) this.#count(before, -1)
    this.#count(lock, 1)
    this.#nextEndMs = Math.min(this.#nextEndMs, lock.expiresMs)
    this.#takeOffFile(before)
    this.#tokens.set(lock.token, lock)
    let node = childOf(this.#views, lock.view)
    node.latestMs = Math.max(node.latestMs, lock.expiresMs)
    for (const name of lock.names) {
      node = childOf(node.children, name)
      node.latestMs = Math.max(node.latestMs, lock.expiresMs)
    }
    node.locks.set(lock.token, lock)
    if (lock.file === undefined) return
    const key = fileKey(lock.view, lock.file)
    const onFile = this.#files.get(key)
    if (onFile === undefined) this.#files.set(key, new Map([[lock.token, lock]]))
    else onFile.set(lock.token, lock)
  }

  #takeOffFile(lock: ActiveLock | undefined): void {
    if (lock?.file === undefined) return
    const key = fileKey(lock.view, lock.file)
    const onFile = this.#files.get(key)
    onFile?.delete(lock.token)
    if (onFile?.size === 0) this.#files.delete(key)
  }

  add(lock: ActiveLock): MaybePromise<void> {
    this.#put(lock)
    this.#willEnd(lock)
  }

  refresh(token: string, kind: LockKind, expiresMs: number): MaybePromise<void> {
    const lock = this.byToken(token)
    if (lock === undefined) return
    const refreshed = { ...lock, kind, expiresMs }
    this.#put(refreshed)
    this.#willEnd(refreshed)
  }

  remove(token: string): MaybePromise<void> {
    this.#forget(token)
  }

  removeTree(view: string, names: readonly Name[], keepOwn: boolean): MaybePromise<void> {
    return this.forgetAll(this.inTree(view, names, keepOwn))
  }

  /** Ends locks, in turns of the event loop when they are many. */
  protected forgetAll(locks: readonly ActiveLock[]): MaybePromise<void> {
    if (locks.length > SLICE) return this.#forgetInTurns(locks)
    for (const { token } of locks) this.#forget(token)
  }

  async #forgetInTurns(locks: readonly ActiveLock[]): Promise<void> {
    for (const { token } of locks) {
      this.#forget(token)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  /** The locks that `removeTree` would end. */
  protected inTree(view: string, names: readonly Name[], keepOwn: boolean): readonly ActiveLock[] {
    if (this.#tokens.size === 0) return NONE
    const below = [...this.below(view, names)]
    return keepOwn ? below : [...below, ...this.#own(view, names, this.#expire())]
  }

  #forget(token: string): void {
    const lock = this.#tokens.get(token)
    if (lock === undefined) return
    this.#tokens.delete(token)
    this.#takeOffFile(lock)
    this.#count(lock, -1)
    this.#takeOut(lock)
  }

  #find(view: string, names: readonly Name[]): Node | undefined {
    let node = this.#views.get(view)
    for (let depth = 0; node !== undefined && depth < names.length; depth++) node = node.children.get(names[depth])
    return node
  }

  /** Takes a lock out of the tree, with the nodes on the way to it that hold nothing any more. */
  #takeOut({ view, names, token }: ActiveLock): void {
    const path: Node[] = []
    let node = this.#views.get(view)
    for (const name of names) {
      if (node === undefined) return
      path.push(node)
      node = node.children.get(name)
    }
    node?.locks.delete(token)
    for (let depth = names.length - 1; depth >= 0 && node !== undefined; depth--) {
      if (node.locks.size > 0 || node.children.size > 0) return
      node = path[depth] as Node
      node.children.delete(names[depth] as Name)
    }
  }

  #willEnd({ token, expiresMs }: ActiveLock): void {
    const ends = this.#ends
    ends.add(token, expiresMs)
    if (ends.length <= 2 * this.#tokens.size + SLACK) return
    ends.clear()
    for (const lock of this.#tokens.values()) ends.add(lock.token, lock.expiresMs)
  }

  /**
   * Forgets what has ended when that is little; else sees to it that it counts no more and is forgotten in turns of its own, so that thousands that end
   * in one moment stop nothing: whoever asks leaves out those that are still there. @returns the present time
   */
  #expire(): number {
    const ends = this.#ends
    if (ends.length === 0) return Number.NEGATIVE_INFINITY
    const nowMs = Math.max(this.#now(), this.#uncountedMs)
    if (!this.#sweeping) for (let left = SLICE; left > 0 && ends.firstMs <= nowMs; left--) this.#forgetNext(nowMs)
    if (ends.firstMs > nowMs) return nowMs
    if (this.#nextEndMs <= nowMs) this.#uncount(nowMs)
    if (!this.#sweeping) void this.#sweep(nowMs)
    return nowMs
  }

  /** Forgets the lock that ends first. */
  #forgetNext(nowMs: number): void {
    const token = this.#ends.take() as string
    const lock = this.#tokens.get(token)
    // One that was refreshed stands further back once more.
    if (lock !== undefined && lock.expiresMs <= nowMs) this.#forget(token)
  }

  /** From now on what has ended by then does not count. Well below a millisecond for 10,000 locks. */
  #uncount(nowMs: number): void {
    let nextEndMs = Number.POSITIVE_INFINITY
    for (const lock of this.#tokens.values()) {
      if (lock.expiresMs <= nowMs) this.#count(lock, -1)
      else if (lock.expiresMs < nextEndMs) nextEndMs = lock.expiresMs
    }
    this.#uncountedMs = nowMs
    this.#nextEndMs = nextEndMs
  }

  async #sweep(nowMs: number): Promise<void> {
    this.#sweeping = true
    await loopBudget.rest()
    while (this.#ends.firstMs <= nowMs) {
      this.#forgetNext(nowMs)
      if (loopBudget.spent) await loopBudget.rest()
    }
    this.#sweeping = false
  }
}
