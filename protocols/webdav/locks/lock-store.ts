import { loopBudget, type MaybePromise, type Name } from '../../../overlay-core/index.ts'
import type { LockKind } from '../http/vocabulary.ts'
import { ExpiryQueue } from './expiry-queue.ts'

/** Locks that end in one go: well below a millisecond. */
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
}

function childOf(children: Map<string, Node>, name: string): Node {
  let child = children.get(name)
  if (child === undefined) {
    child = { children: new Map(), locks: new Map() }
    children.set(name, child)
  }
  return child
}

const NONE: readonly ActiveLock[] = []

function fileKey(view: string, { key, generation }: FileId): string {
  return `${view}/${key}.${generation}`
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

  constructor(now: () => number) {
    this.#now = now
  }

  get size(): number {
    const nowMs = this.#expire()
    if (this.#ends.firstMs > nowMs) return this.#tokens.size
    return this.#count(nowMs, () => true)
  }

  heldBy(user: number): number {
    const nowMs = this.#expire()
    if (this.#ends.firstMs > nowMs) return this.#byUser.get(user) ?? 0
    return this.#count(nowMs, (lock) => lock.user === user)
  }

  covering(view: string, names: readonly Name[], file?: FileId): readonly ActiveLock[] {
    const nowMs = this.#expire()
    if (this.#tokens.size === 0) return NONE
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
    return locks === undefined ? NONE : [...locks.values()].filter(({ expiresMs }) => expiresMs > nowMs)
  }

  rebind(view: string, names: readonly Name[], file: FileId | undefined): readonly ActiveLock[] {
    if (this.#tokens.size === 0) return NONE
    const changed = this.#own(view, names, this.#expire())
      .filter((lock) => !sameFile(lock.file, file))
      .map((lock) => ({ ...lock, file }))
    for (const lock of changed) this.#put(lock)
    return changed
  }

  *below(view: string, names: readonly Name[]): Generator<ActiveLock, undefined> {
    const nowMs = this.#expire()
    const top = this.#find(view, names)
    if (top === undefined) return
    const open = [top.children.values()]
    for (let level = open.at(-1); level !== undefined; level = open.at(-1)) {
      const { value: node } = level.next()
      if (node === undefined) open.pop()
      else {
        for (const lock of node.locks.values()) if (lock.expiresMs > nowMs) yield lock
        if (node.children.size > 0) open.push(node.children.values())
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
    return locks === undefined ? NONE : [...locks.values()].filter(({ expiresMs }) => expiresMs > nowMs)
  }

  #count(nowMs: number, counts: (lock: ActiveLock) => boolean): number {
    let count = 0
    for (const lock of this.#tokens.values()) if (lock.expiresMs > nowMs && counts(lock)) count++
    return count
  }

  /** Puts a lock in the place of what is kept under its token. */
  #put(lock: ActiveLock): void {
    this.#takeOffFile(this.#tokens.get(lock.token))
    this.#tokens.set(lock.token, lock)
    let node = childOf(this.#views, lock.view)
    for (const name of lock.names) node = childOf(node.children, name)
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
    this.#byUser.set(lock.user, (this.#byUser.get(lock.user) ?? 0) + 1)
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
    const left = (this.#byUser.get(lock.user) ?? 1) - 1
    if (left === 0) this.#byUser.delete(lock.user)
    else this.#byUser.set(lock.user, left)
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
   * Forgets what has ended, a slice at each question, so that thousands that end in one moment stop nothing: whoever asks leaves out those that are
   * still there. @returns the present time
   */
  #expire(): number {
    const ends = this.#ends
    if (ends.length === 0) return Number.NEGATIVE_INFINITY
    const nowMs = this.#now()
    for (let left = SLICE; left > 0 && ends.firstMs <= nowMs; left--) {
      const token = ends.take() as string
      const lock = this.#tokens.get(token)
      // One that was refreshed stands further back once more.
      if (lock !== undefined && lock.expiresMs <= nowMs) this.#forget(token)
    }
    return nowMs
  }
}
