/**
 * Asynchronous locks. The order in which the core takes them, outermost first:
 *
 * 1. `SuperBlock.renameLock` — a rename between two directories, so that the tree's shape stands still
 * 2. `OvlInode.dirLock` of directories — ancestors before descendants, the two of a rename that are not related by ascending key; after
 *    them the directory that goes (rmdir, replaced by rename), whose parent is locked already
 * 3. `OvlInode.copyUp` — a running copy-up of a parent before that of a child (each is awaited, never held)
 * 4. `OvlInode.nodeLock` — of one object whose name, links or attributes change
 *
 * Nothing that holds a nodeLock waits for a lock of a lower number. What copies much data holds none of them meanwhile, except that of the
 * object itself when metadata-only data is completed.
 */

interface Waiter {
  readonly exclusive: boolean
  readonly go: () => void
}

/** A fair readers-writer lock: first come, first served; readers that follow each other share. */
export class RwLock {
  #readers = 0
  #writing = false
  readonly #queue: Waiter[] = []

  /** Runs `work` while no writer runs. */
  async shared<T>(work: () => T | Promise<T>): Promise<T> {
    await this.#acquire(false)
    try {
      return await work()
    } finally {
      this.#readers--
      this.#next()
    }
  }

  /** Runs `work` alone. */
  async exclusive<T>(work: () => T | Promise<T>): Promise<T> {
    await this.#acquire(true)
    try {
      return await work()
    } finally {
      this.#writing = false
      this.#next()
    }
  }

  /** Whether anybody holds or waits for the lock. */
  get busy(): boolean {
    return this.#writing || this.#readers > 0 || this.#queue.length > 0
  }

  #acquire(exclusive: boolean): Promise<void> | undefined {
    if (this.#queue.length === 0 && !this.#writing && (!exclusive || this.#readers === 0)) {
      if (exclusive) this.#writing = true
      else this.#readers++
      return undefined
    }
    return new Promise((resolve) => this.#queue.push({ exclusive, go: resolve }))
  }

  #next(): void {
    while (this.#queue.length > 0 && !this.#writing) {
      const first = this.#queue[0] as Waiter
      if (first.exclusive && this.#readers > 0) return
      this.#queue.shift()
      if (first.exclusive) this.#writing = true
      else this.#readers++
      first.go()
    }
  }
}
