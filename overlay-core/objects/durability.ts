import { isErrno } from '../api/errno.ts'
import { FileType } from '../api/types.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import type { Layer, Real } from '../layer/layer.ts'
import type { XattrStore } from '../layer/xattr-store.ts'
import { fsync, syncfs } from '../sys/data.ts'
import { O_DIRECTORY, O_RDONLY } from '../sys/flags.ts'
import { closeLater, closeSync, openAtCached, openDirectory, reopen } from '../sys/open.ts'
import type { OvlInode } from './dentry.ts'
import type { FileCache } from './file-cache.ts'
import type { HandleTable } from './handle.ts'

/** The number of concurrent fsyncs of one object. One alone leaves the disk idle in between; many serve few requests each. */
const MOST_RUNNING = 3

/** The fsyncs of one object: those running, and the callers that came since and share the next one. */
interface Turn {
  running: number
  next: { readonly synced: Promise<void>; readonly go: () => void } | undefined
  /** The number of failed syncs, and the error of the last one. */
  failures: number
  failure: unknown
}

/** The subject of syncfs, for symlinks, fifos and devices, which cannot be opened for an fsync of their own. */
const EVERYTHING = Symbol('everything')
/** The subject for the places of objects that handles refer to. */
const HANDLES = Symbol('handles')
type Subject = OvlInode | typeof EVERYTHING | typeof HANDLES

/** What a mount consists of, as far as it must be made durable. */
export interface DurableParts {
  /** The present upper. A freeze changes it. */
  readonly upper: () => Layer | undefined
  /** Whether nothing need be durable. A remount may change it. */
  readonly isVolatile: () => boolean
  readonly xattrStore: XattrStore
  /** Makes the numbers of file systems durable; undefined if they are. */
  readonly identityDurable: () => Promise<void> | undefined
  /** Makes the directories above the upper durable; undefined if they are. */
  readonly settlePlace: () => Promise<void> | undefined
  readonly handles: HandleTable
  readonly descriptors: Descriptors
  readonly files: FileCache
}

/**
 * Makes changes durable for several callers at a time. A few fsyncs of each object run; callers that come while these run share the next
 * one. The fsyncs of different objects run concurrently, so that the journal of the file system commits them together.
 *
 * For names, syncing the directory is enough: file systems with a journal write the named object and its attributes no later
 * than the name (see docs/adr). If this process has not made an object durable before, its ancestors are synced too, because
 * copy-ups may have created them.
 */
export class Durability {
  /** A sync of changes that were made before a freeze, in an upper that is a lower now; undefined if none is running. */
  #sealing: Promise<void> | undefined
  readonly #turns = new Map<Subject, Turn>()
  /** Objects whose names, up to the root, have been made durable since the mount. */
  readonly #settled = new WeakSet<OvlInode>()
  /** The number of fsync and syncfs calls. */
  syncs = 0
  readonly #parts: DurableParts

  constructor(parts: DurableParts) {
    this.#parts = parts
  }

  /**
   * Resolves when all earlier changes of `objects` are durable: names in directories, attributes, data of files. Undefined if there is nothing to wait
   * for: no upper, a volatile overlay, or nothing copied up.
   *
   * @throws EIO | ENOSPC | EDQUOT with `op` fsync or syncfs: data may be lost
   */
  commit(objects: readonly OvlInode[]): Promise<void> | undefined {
    const { upper, isVolatile, xattrStore, identityDurable, settlePlace } = this.#parts
    if (!upper() || isVolatile()) return undefined
    const subjects = new Set<OvlInode>()
    for (const object of objects) this.#collect(object, subjects)
    if (subjects.size === 0) return this.#sealing
    const syncs: Promise<void>[] = []
    const kept = xattrStore.sync()
    if (kept) syncs.push(kept)
    const identity = identityDurable()
    if (identity) syncs.push(identity)
    const place = settlePlace()
    if (place) syncs.push(place)
    for (const subject of subjects) syncs.push(this.#join(canSync(subject) ? subject : EVERYTHING))
    return this.#settle(syncs, subjects)
  }

  /** Like `commit`, and also makes the places that handles refer to durable, for new and moved objects. */
  commitNames(objects: readonly OvlInode[]): Promise<void> | undefined {
    const changes = this.commit(objects)
    if (changes === undefined || !this.#parts.handles.undurable) return changes
    return bothEnd(changes, this.#join(HANDLES))
  }

  #collect(object: OvlInode, subjects: Set<OvlInode>): void {
    if (!object.upper || object.unlinked || subjects.has(object)) return
    subjects.add(object)
    if (this.#settled.has(object)) return
    for (const { dir } of object.aliases) this.#collect(dir, subjects)
  }

  async #settle(syncs: readonly Promise<void>[], subjects: ReadonlySet<OvlInode>): Promise<void> {
    // Waits for all of them even if one fails, so that no failure goes unnoticed.
    for (const result of await Promise.allSettled(syncs)) if (result.status === 'rejected') throw result.reason
    while (this.#sealing) await this.#sealing
    for (const subject of subjects) this.#settled.add(subject)
  }

  /** Makes durable what was changed before a freeze: until `sync` has ended, every commit waits for it. @throws the error of the disk */
  async seal(sync: () => Promise<void>): Promise<void> {
    while (this.#sealing) await this.#sealing.catch(() => undefined)
    const sealing = sync().finally(() => {
      this.#sealing = undefined
    })
    this.#sealing = sealing
    await sealing
  }

  #join(subject: Subject): Promise<void> {
    const turn = this.#turns.get(subject) ?? { running: 0, next: undefined, failures: 0, failure: undefined }
    this.#turns.set(subject, turn)
    const { failures } = turn
    // The kernel reports lost data only once, to the first caller. A sync that failed meanwhile may have included the data of this one.
    return this.#sync(subject, turn).then(() => {
      if (turn.failures !== failures) throw turn.failure
    })
  }

  #sync(subject: Subject, turn: Turn): Promise<void> {
    if (turn.running < MOST_RUNNING) return this.#start(subject, turn)
    if (turn.next === undefined) {
      let go = (): void => undefined
      const allowed = new Promise<void>((resolve) => {
        go = resolve
      })
      turn.next = { synced: allowed.then(() => this.#start(subject, turn)), go }
    }
    return turn.next.synced
  }

  async #start(subject: Subject, turn: Turn): Promise<void> {
    this.syncs++
    turn.running++
    try {
      await this.#parts.descriptors.run(() => syncSubject(this.#parts, subject))
    } catch (error) {
      turn.failures++
      turn.failure = error
      throw error
    } finally {
      this.#ended(subject, turn)
    }
  }

  #ended(subject: Subject, turn: Turn): void {
    turn.running--
    const { next } = turn
    turn.next = undefined
    if (next !== undefined) next.go()
    else if (turn.running === 0) this.#turns.delete(subject)
  }
}

/** Waits for both and rethrows the failure of either. */
async function bothEnd(one: Promise<void>, other: Promise<void>): Promise<void> {
  for (const result of await Promise.allSettled([one, other])) if (result.status === 'rejected') throw result.reason
}

function canSync({ type }: OvlInode): boolean {
  return type === FileType.directory || type === FileType.regular
}

async function syncSubject(parts: DurableParts, subject: Subject): Promise<void> {
  try {
    if (subject === EVERYTHING) await syncUpper({ upper: parts.upper(), descriptors: parts.descriptors })
    else if (subject === HANDLES) await parts.handles.makeDurable()
    else if (subject.type === FileType.directory) await syncNames(parts, subject.upper as Real)
    else await syncFile(parts, subject)
  } catch (error) {
    // It was removed meanwhile, so nothing must be made durable.
    if (!isErrno(error, 'ESTALE', 'ENOENT')) throw error
  }
}

async function syncNames(parts: DurableParts, dir: Real): Promise<void> {
  const fd = await openNames(parts, dir)
  try {
    await fsync(fd)
  } finally {
    closeSync(fd)
  }
}

/** The kernel has the directory in memory, so opening it again is usually fast. */
async function openNames({ descriptors }: DurableParts, dir: Real): Promise<number> {
  const pathFd = await descriptors.of(dir)
  if (dir.layer.local) {
    try {
      const fd = openAtCached(pathFd, '.', O_DIRECTORY)
      if (fd >= 0) return fd
    } catch (error) {
      if (!isErrno(error)) throw error
    }
  }
  return await openDirectory(pathFd)
}

async function syncFile({ files }: DurableParts, file: OvlInode): Promise<void> {
  const open = await files.acquire(file, true)
  try {
    await fsync(open.fd)
  } finally {
    files.release(open)
  }
}

/** Calls syncfs for the file system of the upper. */
export async function syncUpper({
  upper,
  descriptors,
}: {
  readonly upper: Layer | undefined
  readonly descriptors: Descriptors
}): Promise<void> {
  if (!upper) return
  const fd = await descriptors.run(async () => reopen(await descriptors.of(upper.root), O_RDONLY))
  try {
    await syncfs(fd)
  } finally {
    closeLater(fd)
  }
}
