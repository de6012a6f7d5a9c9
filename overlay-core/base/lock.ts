import { after, ending } from '../api/maybe-promise.ts'
import type { MaybePromise } from '../api/types.ts'

/**
 * Asynchronous locks. The order in which the core takes them, outermost first:
 *
 * 1. `SuperBlock.renameLock` — held by a rename between two directories, so that the shape of the tree does not change
 * 2. `OvlInode.dirLock` of directories — ancestors before descendants; the two directories of a rename, if unrelated, by ascending key; after
 *    them the directory to be removed (by rmdir, or replaced by rename), whose parent is locked already. A directory that was removed while a
 *    rename waited for it keeps its place in this order: it has no parent any more through which anybody else could reach it
 * 3. `OvlInode.copyUp` — a running copy-up of a parent before that of a child (each is awaited, never held)
 * 4. `OvlInode.nodeLock` — of one object whose name, links or attributes change
 *
 * Lookups and listings share a dirLock, and so do changes of different names; everything else holds it exclusively.
 * No holder of a nodeLock waits for a lock with a lower number. Copying much data holds none of them, except the lock of the
 * object itself while a metadata-only copy is completed.
 */

/** The kinds of locks in the order in which they are taken (see above); a running copy-up counts as one. */
export type LockRank = 'shape' | 'directory' | 'copy' | 'node'

/**
 * An observer of locks for tests. `owner` is the inode; undefined for the rename lock. An observer that throws in `wants` refuses
 * a lock taken out of order.
 */
export interface LockObserver {
  made(lock: object, rank: LockRank, owner: object | undefined): void
  /** Called before a caller waits for the lock, or for the copy-up of an inode. */
  wants(lock: object): void
  /** Runs the work under the lock. */
  holding<T>(lock: object, work: () => T): T
}

let observer: LockObserver | undefined

/** Sets or removes an observer of all locks created from now on. Only for tests. */
export function setLockObserver(lockObserver: LockObserver | undefined): void {
  observer = lockObserver
}

/** A lock of `rank` that belongs to `owner`. */
export function newLock(rank: LockRank, owner?: object): RwLock {
  const lock = new RwLock()
  observer?.made(lock, rank, owner)
  return lock
}

/** Tells the observer, if any, that a caller is about to wait for the copy-up of `inode`. */
export function copyAwaited(inode: object): void {
  observer?.wants(inode)
}

/** Runs the copy-up of `inode` so that an observer can attribute its locks. */
export function asCopy<T>(inode: object, copy: () => T): T {
  return observer === undefined ? copy() : observer.holding(inode, copy)
}

/** Sharing: readers with readers, and changers of different names with each other. */
type Kind = 'reader' | 'changer' | 'writer'

interface Waiter {
  readonly kind: Kind
  readonly go: () => void
}

/** A fair reader-writer lock: first come, first served; adjacent waiters that may share do. */
export class RwLock {
  #readers = 0
  #changers = 0
  #writing = false
  #queue: Waiter[] | undefined = undefined
  /** Names being changed. */
  #names: Set<string> | undefined = undefined
  /** The number of changes that started while another was running. */
  #overlaps = 0

  /** Runs `work` while no writer is running. */
  shared<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    return after(this.#acquire('reader'), () => ending(() => this.#run(work), this.#endReading))
  }

  /**
   * Runs `work`, which changes `name` in the directory of this lock, while nobody reads the directory or changes
   * the same name; others may change other names meanwhile. `work` can check at any time whether no other change has overlapped so far.
   */
  changing<T>(name: string, work: (alone: () => boolean) => MaybePromise<T>): MaybePromise<T> {
    if (this.#names?.has(name)) return this.exclusive(() => work(() => true))
    this.#names ??= new Set()
    const names = this.#names
    names.add(name)
    return after(this.#acquire('changer'), () => {
      const overlaps = this.#overlaps
      const began = this.#changers === 1
      return ending(
        () => this.#run(() => work(() => began && this.#overlaps === overlaps)),
        () => {
          this.#changers--
          this.#next()
          names.delete(name)
        },
      )
    })
  }

  /** Runs `work` exclusively. */
  exclusive<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    return after(this.#acquire('writer'), () => ending(() => this.#run(work), this.#endWriting))
  }

  /** Whether the lock is held or waited for. */
  get busy(): boolean {
    return this.#writing || this.#readers > 0 || this.#changers > 0 || this.#queue !== undefined
  }

  readonly #endReading = (): void => {
    this.#readers--
    this.#next()
  }

  readonly #endWriting = (): void => {
    this.#writing = false
    this.#next()
  }

  #run<T>(work: () => T): T {
    return observer === undefined ? work() : observer.holding(this, work)
  }

  #acquire(kind: Kind): Promise<void> | undefined {
    observer?.wants(this)
    if (this.#queue === undefined && this.#admits(kind)) {
      this.#enter(kind)
      return undefined
    }
    return new Promise((resolve) => {
      this.#queue ??= []
      this.#queue.push({ kind, go: resolve })
    })
  }

  #admits(kind: Kind): boolean {
    if (this.#writing) return false
    if (kind === 'reader') return this.#changers === 0
    return this.#readers === 0 && (kind === 'changer' || this.#changers === 0)
  }

  #enter(kind: Kind): void {
    if (kind === 'writer') this.#writing = true
    else if (kind === 'reader') this.#readers++
    else if (this.#changers++ > 0) this.#overlaps++
  }

  #next(): void {
    while (this.#queue !== undefined) {
      const first = this.#queue[0] as Waiter
      if (!this.#admits(first.kind)) return
      this.#queue.shift()
      if (this.#queue.length === 0) this.#queue = undefined
      this.#enter(first.kind)
      first.go()
    }
  }
}
