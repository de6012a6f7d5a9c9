import type { Name } from '../../../overlay-core/index.ts'
import type { Journal, Logger } from '../api/settings.ts'
import { DavError } from '../http/dav-error.ts'
import { LockKind, LockType } from '../http/vocabulary.ts'
import { JournalWriter } from './lock-journal.ts'
import { endedLine, readLine, refreshedLine, takenLine } from './lock-record.ts'
import { type ActiveLock, MemoryLockStore } from './lock-store.ts'

/**
 * A LockStore that outlives the process: questions are answered from memory, changes resolve when they are in the journal of their view.
 * A lock that cannot be kept is not given. Views without a journal have locks in memory.
 */
export class DurableLockStore extends MemoryLockStore {
  readonly #writers = new Map<string, JournalWriter<ActiveLock>>()
  readonly #log: Logger

  /** Takes up the locks of all journals that have not ended by `now()`. */
  constructor(now: () => number, journals: ReadonlyMap<string, Journal>, log: Logger) {
    super(now)
    this.#log = log
    for (const [view, journal] of journals) {
      for (const lock of survivors(view, journal.lines, now())) void super.add(lock)
      this.#writers.set(view, this.#writerOf(view, journal))
    }
  }

  /** @throws DavError 507 the disk has no room · 500 it fails: then there is no lock */
  override async add(lock: ActiveLock): Promise<void> {
    void super.add(lock)
    try {
      await this.#writers.get(lock.view)?.add(takenLine(lock))
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
      await this.#writers.get(lock.view)?.add(refreshedLine(token, kind.timeout, expiresMs))
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
    for (const { token } of ended) void super.remove(token)
    await this.#noteEnds(ended)
  }

  /** Resolves when every change so far is in its journal. */
  async idle(): Promise<void> {
    await Promise.all([...this.#writers.values()].map((writer) => writer.idle()))
  }

  /** A lock whose end could not be noted comes back with the next process, until its time is over: a nuisance, not a fault of the request. */
  async #noteEnds(ended: readonly ActiveLock[]): Promise<void> {
    try {
      await Promise.all(ended.map(({ view, token }) => this.#writers.get(view)?.add(endedLine(token))))
    } catch (error) {
      this.#log.warn({ err: error }, 'webdav: the end of a lock could not be kept')
    }
  }

  #writerOf(view: string, journal: Journal): JournalWriter<ActiveLock> {
    const live = () => this.all().filter((lock) => lock.view === view)
    return new JournalWriter(journal, { live, count: () => this.size, line: takenLine }, this.#log)
  }
}

function survivors(view: string, lines: readonly string[], nowMs: number): Iterable<ActiveLock> {
  const locks = new Map<string, ActiveLock>()
  for (const line of lines) {
    const record = readLine(view, line)
    if (record === undefined) continue
    if (record.kind === 'taken') locks.set(record.lock.token, record.lock)
    else if (record.kind === 'ended') locks.delete(record.token)
    else {
      const lock = locks.get(record.token)
      if (lock === undefined) continue
      const kind = new LockKind(lock.kind.scope, LockType.Write, record.seconds)
      locks.set(record.token, { ...lock, kind, expiresMs: record.expiresMs })
    }
  }
  return [...locks.values()].filter((lock) => lock.expiresMs > nowMs)
}

function notKept(error: unknown): DavError {
  const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
  return new DavError(full ? 507 : 500, 'the lock cannot be kept')
}
