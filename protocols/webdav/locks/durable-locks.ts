import { type Journal, loopBudget, type Name } from '../../../overlay-core/index.ts'
import type { LockClock, Logger } from '../api/settings.ts'
import { DavError } from '../http/dav-error.ts'
import { LockKind, LockType } from '../http/vocabulary.ts'
import { boundLine, type Expiry, endedLine, readLine, refreshedLine, takenLine } from './lock-record.ts'
import { type ActiveLock, type FileId, MemoryLockStore } from './lock-store.ts'

/**
 * A LockStore that survives the process. Queries are answered from memory; changes resolve when they are in the journal of their view.
 * A lock that cannot be recorded is not granted. Views without a journal of their own use the shared one; without that, their locks are only in memory.
 */
export class DurableLockStore extends MemoryLockStore {
  readonly #journals: Map<string, Journal>
  /** The journal of all other views, whose records name their view. */
  readonly #shared: Journal | undefined
  /** The running appends. */
  readonly #appending = new Set<Promise<void>>()
  readonly #log: Logger
  /** The time of day, in ms since the epoch. */
  readonly #wallNow: () => number
  readonly #clock: LockClock

  /** Restores the locks of all journals that have not expired yet. Without `clock`, locks expire by the time of day. */
  constructor(
    wallNow: () => number,
    journals: ReadonlyMap<string, Journal>,
    log: Logger,
    clock: LockClock = { now: wallNow, boot: undefined },
    shared?: Journal,
  ) {
    super(clock.now)
    this.#log = log
    this.#journals = new Map(journals)
    this.#wallNow = wallNow
    this.#clock = clock
    this.#shared = shared
    if (shared !== undefined) this.#restore(shared, undefined)
    for (const [view, journal] of journals) this.#restore(journal, view)
  }

  /** Restores the locks of a view that is served from now on, and records its locks. */
  openJournal(view: string, journal: Journal): void {
    this.#journals.set(view, journal)
    this.#restore(journal, view)
  }

  /** Forgets the locks of a view that is not served any more; its journal keeps them. Resolves when the journal may be closed. */
  async closeJournal(view: string): Promise<void> {
    await this.forgetAll(this.inTree(view, [], false))
    await this.idle()
    this.#journals.delete(view)
  }

  /** @param view undefined for the shared journal */
  #restore(journal: Journal, view: string | undefined): void {
    for (const lock of this.#survivors(view, journal.takeRecords())) void super.add(lock)
    journal.keepShort({
      count: () => this.size,
      records: () => this.#recordsOf(view),
      failed: (error) => this.#log.warn({ err: error }, 'webdav: the list of locks could not be written anew'),
    })
  }

  /** @throws DavError 507 no space on the disk · 500 the disk failed; in either case there is no lock */
  override async add(lock: ActiveLock): Promise<void> {
    void super.add(lock)
    try {
      await this.#append(lock.view, this.#takenLine(lock))
    } catch (error) {
      void super.remove(lock.token)
      throw notKept(error)
    }
  }

  /** @throws DavError 507 · 500 in either case the extension is valid only until the process ends */
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

  /** The record is not awaited: after a crash before it is written, the lock is on the previous file, which no longer exists. */
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

  /** A lock whose end could not be recorded returns with the next process until it expires. That is a nuisance, but does not fail the request. */
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
    return takenLine(lock, this.#expiry(lock.expiresMs), !this.#journals.has(lock.view))
  }

  /** Converts a time of the store's clock to a form that another run can use. */
  #expiry(expiresMs: number): Expiry {
    const { now, boot } = this.#clock
    const onWall = this.#wallNow() + (expiresMs - now())
    return boot === undefined ? { expiresMs: onWall } : { expiresMs: onWall, boot, bootMs: expiresMs }
  }

  /**
   * The remaining time of a lock of another run: by the monotonic clock in the same boot, otherwise by the time of day. As that may have been changed
   * meanwhile, the result is never more than the timeout of the lock.
   */
  #remainingMs({ expiresMs, boot, bootMs }: Expiry, seconds: number): number {
    const same = boot !== undefined && boot === this.#clock.boot && bootMs !== undefined
    const left = same ? bootMs - this.#clock.now() : expiresMs - this.#wallNow()
    return Math.min(left, seconds * 1000)
  }

  #survivors(view: string | undefined, lines: readonly string[]): Iterable<ActiveLock> {
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
    const appended = (this.#journals.get(view) ?? this.#shared)?.append(record)
    if (appended === undefined) return
    this.#appending.add(appended)
    const done = () => this.#appending.delete(appended)
    appended.then(done, done)
    return appended
  }

  *#recordsOf(view: string | undefined): Iterable<string> {
    const journals = this.#journals
    const belongs = (lock: ActiveLock) => (view === undefined ? !journals.has(lock.view) : lock.view === view)
    // The list is a snapshot, because locks may change during the iteration.
    for (const lock of this.all().filter(belongs)) yield this.#takenLine(lock)
  }
}

function notKept(error: unknown): DavError {
  const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
  return new DavError(full ? 507 : 500, 'the lock cannot be saved')
}
