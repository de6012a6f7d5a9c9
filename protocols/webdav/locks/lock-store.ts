import { loopBudget, type MaybePromise, type Name } from '../../../overlay-core/index.ts'
import type { LockKind } from '../http/vocabulary.ts'
import { ExpiryQueue } from './expiry-queue.ts'
import type { Holder } from './holder.ts'
import { type LockUsage, LockUsages } from './lock-usage.ts'

/** The number of expired locks removed within one query, in well below a millisecond. The rest is removed in separate turns. */
const SLICE = 64
/** The expiry queue is rebuilt when it exceeds twice the number of locks by this much. Until then, entries of refreshed and removed locks stay in it. */
const SLACK = 1000

/** The identity of a file, independent of its names (`Inode.key` and `generation`). */
export interface FileId {
  readonly key: number
  readonly generation: number
}

/** A lock in force (RFC 4918 section 6). Its holder is whoever took it; the number of locks of each holder is limited. */
export interface ActiveLock extends Holder {
  /** A globally unique URI. */
  readonly token: string
  readonly view: string
  /** The root of the lock: the path where it was taken, with symlinks resolved. */
  readonly names: readonly Name[]
  /** The file at that path when the lock was taken, or that replaced it since. It is locked at all of its names. Undefined for a collection. */
  readonly file?: FileId | undefined
  /** The scope (exclusive or shared), type, and timeout in seconds. */
  readonly kind: LockKind
  /** True for Depth infinity: everything below the root is locked too. */
  readonly deep: boolean
  /** The content of `DAV:owner` from the client, as self-contained XML. */
  readonly owner: string
  /** When it expires unless refreshed, in ms of the store's monotonic clock. */
  readonly expiresMs: number
}

/** A resource with locks. */
export interface LockedResource {
  /** The locks taken on it, at least one. */
  readonly own: readonly ActiveLock[]
  /** The locks with depth infinity taken on collections above it. */
  readonly above: readonly ActiveLock[]
}

/**
 * A store of locks. Queries return at once, because they are made during a change, under the locks of
 * the core; updates may wait for a disk.
 */
export interface LockStore {
  /** The number of locks in force. */
  readonly size: number
  /** The locks in force, of one holder or of all. */
  usage(holder?: Holder): LockUsage
  /** The locks that cover the resource: taken on it, on `file` at any name, or with depth infinity on a collection above. */
  covering(view: string, names: readonly Name[], file?: FileId): readonly ActiveLock[]
  /** Moves the locks taken at `names` to the file that now has that path. */
  rebind(view: string, names: readonly Name[], file: FileId | undefined): readonly ActiveLock[]
  /** The locks taken on the file, at any name. */
  onFile(view: string, file: FileId): readonly ActiveLock[]
  /** The locks taken below the collection, excluding its own, as an iterator that must not be kept across turns of the event loop. */
  below(view: string, names: readonly Name[]): Iterable<ActiveLock>
  /**
   * The resources with locks below the collection, excluding the collection itself and resources under a deep lock whose token is in
   * `tokens`. The iterator must not be kept across turns of the event loop.
   */
  lockedBelow(view: string, names: readonly Name[], tokens: ReadonlySet<string>): Iterable<LockedResource>
  byToken(token: string): ActiveLock | undefined
  add(lock: ActiveLock): MaybePromise<void>
  /** Refreshes the lock with `token`. */
  refresh(token: string, kind: LockKind, expiresMs: number): MaybePromise<void>
  remove(token: string): MaybePromise<void>
  /** Ends the locks taken below the collection, and those on the collection itself unless `keepOwn` is set. */
  removeTree(view: string, names: readonly Name[], keepOwn: boolean): MaybePromise<void>
}

interface Node {
  readonly children: Map<Name, Node>
  /** By token. */
  readonly locks: Map<string, ActiveLock>
  /** The latest expiry of the locks on it and below it, in ms. After that, nothing here needs to be searched. */
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
  /** Locks on files, by view and file. */
  readonly #files = new Map<string, Map<string, ActiveLock>>()
  readonly #ends = new ExpiryQueue()
  /** The locks in force, which expire after `#uncountedMs`. Locks that expired before are only waiting to be removed. */
  readonly #usages = new LockUsages()
  #uncountedMs = Number.NEGATIVE_INFINITY
  /** No lock in force expires earlier. */
  #nextEndMs = Number.POSITIVE_INFINITY
  #sweeping = false

  constructor(now: () => number) {
    this.#now = now
  }

  get size(): number {
    return this.usage().locks
  }

  usage(holder?: Holder): LockUsage {
    this.#expire()
    return holder === undefined ? this.#usages.total : this.#usages.of(holder)
  }

  covering(view: string, names: readonly Name[], file?: FileId): readonly ActiveLock[] {
    const nowMs = this.#expire()
    if (this.#usages.total.locks === 0) return NONE
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
    if (this.#usages.total.locks === 0) return NONE
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

  /** All locks in force, in no particular order. */
  all(): ActiveLock[] {
    const nowMs = this.#expire()
    return [...this.#tokens.values()].filter(({ expiresMs }) => expiresMs > nowMs)
  }

  /** The locks taken at this path itself. */
  #own(view: string, names: readonly Name[], nowMs: number): readonly ActiveLock[] {
    const locks = this.#find(view, names)?.locks
    return locks === undefined ? NONE : inForce(locks, nowMs)
  }

  /** Does nothing if the lock has expired and is not counted any more. */
  #uncountOne(lock: ActiveLock): void {
    if (lock.expiresMs > this.#uncountedMs) this.#usages.remove(lock)
  }

  /** Stores a lock under its token and replaces an earlier one. */
  #put(lock: ActiveLock): void {
    const before = this.#tokens.get(lock.token)
    if (before !== undefined) this.#uncountOne(before)
    if (lock.expiresMs > this.#uncountedMs) this.#usages.add(lock)
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

  /** Ends locks, in several turns of the event loop if there are many. */
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
    this.#uncountOne(lock)
    this.#takeOut(lock)
  }

  #find(view: string, names: readonly Name[]): Node | undefined {
    let node = this.#views.get(view)
    for (let depth = 0; node !== undefined && depth < names.length; depth++) node = node.children.get(names[depth])
    return node
  }

  /** Removes a lock from the tree, and the nodes above it that became empty. */
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
   * Removes expired locks if there are few. Otherwise they only stop counting and are removed in separate turns, so that thousands of locks that expire
   * at once block nothing; queries skip the ones that are still there. @returns the present time
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

  /** Removes the lock that expires first. */
  #forgetNext(nowMs: number): void {
    const token = this.#ends.take() as string
    const lock = this.#tokens.get(token)
    // A refreshed lock has another entry further back.
    if (lock !== undefined && lock.expiresMs <= nowMs) this.#forget(token)
  }

  /** Stops counting the locks that have expired by then. Takes well below a millisecond for 10,000 locks. */
  #uncount(nowMs: number): void {
    let nextEndMs = Number.POSITIVE_INFINITY
    for (const lock of this.#tokens.values()) {
      if (lock.expiresMs <= nowMs) this.#uncountOne(lock)
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
