import { type Journal, loopBudget, type Name } from '../../../overlay-core/index.ts'
import type { LockClock, Logger } from '../api/settings.ts'
import { DavError } from '../http/dav-error.ts'
import { LockKind, LockType } from '../http/vocabulary.ts'
import { boundLine, type Expiry, endedLine, readLine, refreshedLine, takenLine } from './lock-record.ts'
import { type ActiveLock, type FileId, MemoryLockStore } from './lock-store.ts'

/**
 * A LockStore that outlives the process: questions are answered from memory, changes resolve when they are in the journal of their view.
 * A lock that cannot be kept is not given. Views without a journal have locks in memory.
 */
export class DurableLockStore extends MemoryLockStore {
  readonly #journals: ReadonlyMap<string, Journal>
  /** Appends under way. */
  readonly #appending = new Set<Promise<void>>()
  readonly #log: Logger
  /** The time on the wall, ms since the epoch. */
  readonly #wallNow: () => number
  readonly #clock: LockClock

  /** Takes up the locks of all journals that have not ended by now. Without `clock` locks live by the time on the wall. */
  constructor(
    wallNow: () => number,
    journals: ReadonlyMap<string, Journal>,
    log: Logger,
    clock: LockClock = { now: wallNow, boot: undefined },
  ) {
    super(clock.now)
    this.#log = log
    this.#journals = journals
    this.#wallNow = wallNow
    this.#clock = clock
    for (const [view, journal] of journals) {
      for (const lock of this.#survivors(view, journal.takeRecords())) void super.add(lock)
      journal.keepShort({
        count: () => this.size,
        records: () => this.#recordsOf(view),
        failed: (error) => log.warn({ err: error }, 'webdav: the list of locks could not be written anew'),
      })
    }
  }

  /** @throws DavError 507 the disk has no room · 500 it fails: then there is no lock */
  override async add(lock: ActiveLock): Promise<void> {
    void super.add(lock)
    try {
      await this.#append(lock.view, this.#takenLine(lock))
    } catch (error) {
      void super.remove(lock.token)
      throw notKept(error)
    }
  }

  /** @throws DavError 507 · 500 the new life is over when the process is */
  override async refresh(token: string, kind: LockKind, expiresMs: number): Promise<void> {
    const lock = this.byToken(token)
    if (lock === undefined) return
    void super.refresh(token, kind, expiresMs)
    try {
      await this.#append(lock.view, refreshedLine(token, kind.timeout, this.#expiry(expiresMs)))
    } catch (error) {
      throw notKept(error)
    }
  }

  override async remove(token: string): Promise<void> {
    const lock = this.byToken(token)
    if (lock === undefined) return
    void super.remove(token)
    await this.#noteEnds([lock])
  }

  override async removeTree(view: string, names: readonly Name[], keepOwn: boolean): Promise<void> {
    const ended = this.inTree(view, names, keepOwn)
    if (ended.length === 0) return
    await this.forgetAll(ended)
    await this.#noteEnds(ended)
  }

  /** Not waited for: until it is in the journal a crash brings back the file before, which is gone. */
  override rebind(view: string, names: readonly Name[], file: FileId | undefined): readonly ActiveLock[] {
    const bound = super.rebind(view, names, file)
    for (const lock of bound) this.#append(view, boundLine(lock))?.catch(this.#unbound)
    return bound
  }

  readonly #unbound = (error: unknown): void => {
    this.#log.warn({ err: error }, 'webdav: cannot save the binding of a lock')
  }

  /** Resolves when every change so far is in its journal. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#appending)
  }

  /** A lock whose end could not be noted comes back with the next process, until its time is over: a nuisance, not a fault of the request. */
  async #noteEnds(ended: readonly ActiveLock[]): Promise<void> {
    try {
      const noted: (Promise<void> | undefined)[] = []
      for (const { view, token } of ended) {
        noted.push(this.#append(view, endedLine(token)))
        if (loopBudget.spent) await loopBudget.rest()
      }
      await Promise.all(noted)
    } catch (error) {
      this.#log.warn({ err: error }, 'webdav: cannot save the end of a lock')
    }
  }

  #takenLine(lock: ActiveLock): string {
    return takenLine(lock, this.#expiry(lock.expiresMs))
  }

  /** A moment of the store's clock as another run can read it. */
  #expiry(expiresMs: number): Expiry {
    const { now, boot } = this.#clock
    const onWall = this.#wallNow() + (expiresMs - now())
    return boot === undefined ? { expiresMs: onWall } : { expiresMs: onWall, boot, bootMs: expiresMs }
  }

  /**
   * How long a lock of another run still lives. In the same boot its clock tells; else the one on the wall, which may have been set meanwhile: never
   * longer than the lock was to live at all.
   */
  #remainingMs({ expiresMs, boot, bootMs }: Expiry, seconds: number): number {
    const same = boot !== undefined && boot === this.#clock.boot && bootMs !== undefined
    const left = same ? bootMs - this.#clock.now() : expiresMs - this.#wallNow()
    return Math.min(left, seconds * 1000)
  }

  #survivors(view: string, lines: readonly string[]): Iterable<ActiveLock> {
    const locks = new Map<string, { lock: ActiveLock; expiry: Expiry }>()
    for (const line of lines) {
      const record = readLine(view, line)
      if (record === undefined) continue
      if (record.kind === 'taken') locks.set(record.lock.token, record)
      else if (record.kind === 'ended') locks.delete(record.token)
      else {
        const found = locks.get(record.token)
        if (found === undefined) continue
        if (record.kind === 'bound') found.lock = { ...found.lock, file: record.file }
        else {
          const kind = new LockKind(found.lock.kind.scope, LockType.Write, record.seconds)
          locks.set(record.token, { lock: { ...found.lock, kind }, expiry: record.expiry })
        }
      }
    }
    const now = this.#clock.now()
    return [...locks.values()]
      .map(({ lock, expiry }) => ({ ...lock, expiresMs: now + this.#remainingMs(expiry, lock.kind.timeout) }))
      .filter(({ expiresMs }) => expiresMs > now)
  }

  /** Resolves when the record is in the journal of the view, if that has one. */
  #append(view: string, record: string): Promise<void> | undefined {
    const appended = this.#journals.get(view)?.append(record)
    if (appended === undefined) return
    this.#appending.add(appended)
    const done = () => this.#appending.delete(appended)
    appended.then(done, done)
    return appended
  }

  *#recordsOf(view: string): Iterable<string> {
    // As they are now, whatever becomes of them while the records are made.
    for (const lock of this.all().filter((each) => each.view === view)) yield this.#takenLine(lock)
  }
}

function notKept(error: unknown): DavError {
  const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
  return new DavError(full ? 507 : 500, 'the lock cannot be saved')
}
