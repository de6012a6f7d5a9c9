import type { Clock } from '../api/clock.ts'
import { isErrno, isUnwritable, OverlayError } from '../api/errno.ts'
import type { MaybePromise, Name } from '../api/types.ts'
import type { KernelHandle } from '../sys/handle.ts'
import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import type { HandleFile } from './handle-file.ts'
import type { HandleLog, HandleRecord } from './handle-log.ts'
import { decodeNameless, encodeNameless, type NamelessRecord } from './nameless.ts'

/** The delay in ms before a recorded place is written to the disk. */
const WRITING_MS = 2000

/** Finds objects by their records, for all callers; part of the superblock. */
export interface Finder {
  /** Looks a name up in a directory. */
  lookup(dir: OvlInode, name: Name): MaybePromise<OvlInode | undefined>
  /** Finds the object with the identity of `record`, which had no known name when it was recorded. */
  nameless(record: HandleRecord, what: NamelessRecord): Promise<OvlInode | undefined>
}

/**
 * Finds an object by its identity, even after it was dropped from the caches and after a restart. Records where every object whose
 * identity was given to a client was last found. An object that is no longer there, or whose generation differs,
 * no longer exists (ESTALE).
 *
 * A rename records the new place before it happens, so that after a crash in between one of the two recorded places is right.
 */
export class HandleTable {
  readonly #dcache: DentryCache
  readonly #finder: Finder
  readonly #file: HandleFile
  readonly #log: HandleLog
  #compacting: Promise<void> | undefined
  readonly #clock: Clock
  #stopTicks: (() => void) | undefined
  #writingBehind: Promise<void> | undefined
  /** Whether records may not be in the file yet. */
  #unflushed = false
  /** After a failed rewrite, the size of the log at which it is tried again. */
  #retryBytes = 0

  constructor({ dcache, clock }: { dcache: DentryCache; clock: Clock }, finder: Finder, file: HandleFile) {
    this.#dcache = dcache
    this.#clock = clock
    this.#finder = finder
    this.#file = file
    this.#log = file.log
  }

  /** The number of remembered identities, and their bytes on disk. */
  get usage(): { handles: number; bytes: number; liveBytes: number } {
    return { handles: this.#log.size, ...this.#log.usage }
  }

  /** Remembers `inode` and the directories above it from now on. Returns whether `flushed` must tell when that survives the process; otherwise it does already. */
  retain(inode: OvlInode): boolean {
    if (inode.retained) return this.#unflushed
    const { alias } = inode
    if (!alias) return this.#unflushed
    inode.retained = true
    this.retain(alias.dir)
    this.#put(inode, alias.dir.key, alias.name)
    return this.#unflushed
  }

  /** Resolves when everything retained so far survives the death of the process; undefined if it does already. @throws the error of the disk */
  flushed(): Promise<void> | undefined {
    if (!this.#unflushed) return undefined
    const writing = this.#log.flushed()
    if (writing === undefined) this.#unflushed = false
    else this.#compactIfWorthwhile()
    return writing
  }

  /** Records the present place of `inode`, if a client knows it. */
  remember(inode: OvlInode): void {
    const alias = inode.alias
    if (!alias || !this.#known(inode)) return
    this.retain(alias.dir)
    this.#put(inode, alias.dir.key, alias.name)
  }

  /** Records the next place of `inode`; must be awaited before it moves. If there is no space for the record, it moves anyway. */
  async moving(inode: OvlInode, dir: OvlInode, name: Name): Promise<void> {
    if (!this.#known(inode)) return
    this.retain(dir)
    this.#put(inode, dir.key, name)
    await unlessFull(this.flushed())
  }

  /** Records that `inode` will have no known name, only a kernel handle; must be awaited before the last known name is removed. */
  async losingName(inode: OvlInode, kernelHandle: KernelHandle): Promise<void> {
    if (!this.#known(inode)) return
    const { fileIdHi, fileIdLo, type, lowerNlink } = inode
    this.#put(inode, 0, encodeNameless({ fileIdHi, fileIdLo, type, lowerNlink, kernelHandle }))
    await unlessFull(this.flushed())
  }

  /** Records that the object is gone permanently. */
  forget(inode: OvlInode): void {
    const { key, generation } = inode
    if (!this.#log.has(key, generation)) return
    this.#log.remove(key, generation)
    this.#changed()
  }

  /** @throws ESTALE */
  find(key: number, generation: number): MaybePromise<OvlInode> {
    const inode = this.#dcache.inode(key)
    if (!inode) return this.#findAgain(key, generation)
    if (inode.generation === generation) return inode
    throw new OverlayError('ESTALE', 'handle')
  }

  /** Whether a power loss could lose a recorded place. */
  get undurable(): boolean {
    return this.#log.undurable
  }

  /** Makes the recorded places durable, as far as there is space for them. */
  async makeDurable(): Promise<void> {
    await unlessFull(this.#log.sync())
  }

  /** Makes all records durable, and rewrites the log if most of it is obsolete. */
  async sync(): Promise<void> {
    await this.#compacting
    if (this.#log.wantsCompaction) await this.#compactOnce()
    await this.#log.sync()
  }

  /** Writes the records, durably or not, and closes the log in any case. */
  async close(durably: boolean): Promise<void> {
    this.#stopTicks?.()
    try {
      await this.#writingBehind
      await this.#compacting
      await (durably ? this.sync() : this.#log.startWriting())
    } finally {
      this.#file.close()
    }
  }

  #known(inode: OvlInode): boolean {
    return inode.retained || this.#log.has(inode.key, inode.generation)
  }

  #put(inode: OvlInode, dirKey: number, name: string): void {
    const { key, generation } = inode
    // A record of an object that was just removed must not replace that of the object that got its key.
    if (this.#dcache.inode(key) !== inode) return
    this.#log.put({ key, generation, dirKey, name })
    this.#changed()
  }

  #changed(): void {
    this.#unflushed = true
    this.#stopTicks ??= this.#clock.every(WRITING_MS, () => this.#writeBehind())
  }

  /** Records of lookups do not wait for the disk, but are written to it soon. */
  #writeBehind(): void {
    this.#stopTicks?.()
    this.#stopTicks = undefined
    this.#compactIfWorthwhile()
    // The next caller that waits for the disk gets the error.
    this.#writingBehind = this.#log.startWriting().catch(() => undefined)
  }

  async #findAgain(key: number, generation: number | undefined): Promise<OvlInode> {
    for (const record of await this.#log.find(key)) {
      if (generation !== undefined && record.generation !== generation) continue
      const inode = await this.#at(record)
      if (inode) return inode
    }
    throw new OverlayError('ESTALE', 'handle')
  }

  /** The object at the place of `record`, if it is the recorded one. */
  async #at(record: HandleRecord): Promise<OvlInode | undefined> {
    try {
      const nameless = decodeNameless(record.name)
      if (nameless) return await this.#finder.nameless(record, nameless)
      const dir = this.#dcache.inode(record.dirKey) ?? (await this.#findAgain(record.dirKey, undefined))
      const inode = await this.#finder.lookup(dir, record.name)
      return inode && inode.key === record.key && inode.generation === record.generation ? inode : undefined
    } catch (error) {
      if (isErrno(error, 'ESTALE', 'ENOENT', 'ENOTDIR')) return undefined
      throw error
    }
  }

  /** Rewrites the log in the background if most of it is obsolete. */
  #compactIfWorthwhile(): void {
    if (this.#compacting || !this.#log.wantsCompaction) return
    const { bytes } = this.#log.usage
    if (bytes < this.#retryBytes) return
    this.#compactOnce().catch(() => {
      // The old log remains usable; `sync` reports an error that persists.
      this.#retryBytes = 2 * bytes
    })
  }

  #compactOnce(): Promise<void> {
    this.#compacting ??= this.#log.compact().finally(() => {
      this.#compacting = undefined
    })
    return this.#compacting
  }
}

/**
 * If the storage is full or has become read-only, a handle is valid only during this run (`flushed` reports the error). The change itself is
 * made anyway, above all a removal, which frees space.
 */
async function unlessFull(noted: Promise<void> | undefined): Promise<void> {
  try {
    await noted
  } catch (error) {
    if (!isUnwritable(error)) throw error
  }
}
