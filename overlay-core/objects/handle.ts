import type { Clock } from '../api/clock.ts'
import { isErrno, OverlayError } from '../api/errno.ts'
import type { MaybePromise, Name } from '../api/types.ts'
import type { KernelHandle } from '../sys/handle.ts'
import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import type { HandleFile } from './handle-file.ts'
import type { HandleLog, HandleRecord } from './handle-log.ts'
import { decodeNameless, encodeNameless, type NamelessRecord } from './nameless.ts'

/** So long after it was noted a place is sent to the disk, ms. */
const WRITING_MS = 2000

/** How objects are found by what was noted of them, whoever asks; part of the super block. */
export interface Finder {
  /** Looks a name up in a directory. */
  lookup(dir: OvlInode, name: Name): MaybePromise<OvlInode | undefined>
  /** The object with the identity of `record`, none of whose names was known when it was noted. */
  nameless(record: HandleRecord, what: NamelessRecord): Promise<OvlInode | undefined>
}

/**
 * From an object's identity back to the object, also after it was dropped from the caches and after a restart: for every object whose
 * identity was given to a client, where it was last found. An object that is not there any more, or whose generation differs,
 * is gone (ESTALE).
 *
 * A rename notes the new place before it happens, so that a crash between leaves one of the two places right.
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
  /** After a failure the log is rewritten when it is twice as long. */
  #retryBytes = 0

  constructor({ dcache, clock }: { dcache: DentryCache; clock: Clock }, finder: Finder, file: HandleFile) {
    this.#dcache = dcache
    this.#clock = clock
    this.#finder = finder
    this.#file = file
    this.#log = file.log
  }

  /** How many identities are remembered, and the bytes on disk for it. */
  get usage(): { handles: number; bytes: number; liveBytes: number } {
    return { handles: this.#log.size, ...this.#log.usage }
  }

  /** Remembers `inode` and the directories above it from now on. `flushed` tells when that survives the process. */
  retain(inode: OvlInode): void {
    if (inode.retained) return
    const alias = inode.alias
    if (!alias) return
    inode.retained = true
    this.retain(alias.dir)
    this.#put(inode, alias.dir.key, alias.name)
  }

  /** Undefined when everything retained so far would survive the death of the process, else when it will. @throws the error of the disk */
  flushed(): Promise<void> | undefined {
    if (this.#log.wantsCompaction) this.#compactAside()
    return this.#log.flushed()
  }

  /** Notes where `inode` is found now, if a client knows it. */
  remember(inode: OvlInode): void {
    const alias = inode.alias
    if (!alias || !this.#known(inode)) return
    this.retain(alias.dir)
    this.#put(inode, alias.dir.key, alias.name)
  }

  /** Notes where `inode` is about to be; to be awaited before it moves. Without room for the note it moves all the same. */
  async moving(inode: OvlInode, dir: OvlInode, name: Name): Promise<void> {
    if (!this.#known(inode)) return
    this.retain(dir)
    this.#put(inode, dir.key, name)
    await unlessFull(this.flushed())
  }

  /** Notes that no name of `inode` will be known, but what the file system itself finds it by; to be awaited before the last known one goes. */
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

  /** Whether a power loss could take away a place that was noted. */
  get undurable(): boolean {
    return this.#log.undurable
  }

  /** Makes the places durable that were noted so far, as far as there is room for them. */
  async makeDurable(): Promise<void> {
    await unlessFull(this.#log.sync())
  }

  /** Makes all that is noted durable, and rewrites the log when most of it is dead. */
  async sync(): Promise<void> {
    await this.#compacting
    if (this.#log.wantsCompaction) await this.#compactOnce()
    await this.#log.sync()
  }

  /** Writes what is noted, and closes the log in any case. */
  async close(): Promise<void> {
    this.#stopTicks?.()
    try {
      await this.#writingBehind
      await this.sync()
    } finally {
      this.#file.close()
    }
  }

  #known(inode: OvlInode): boolean {
    return inode.retained || this.#log.has(inode.key, inode.generation)
  }

  #put(inode: OvlInode, dirKey: number, name: string): void {
    const { key, generation } = inode
    // Of one that has just gone nothing may be noted over what was noted of the one that got its key.
    if (this.#dcache.inode(key) !== inode) return
    this.#log.put({ key, generation, dirKey, name })
    this.#changed()
  }

  #changed(): void {
    this.#stopTicks ??= this.#clock.every(WRITING_MS, () => this.#writeBehind())
  }

  /** Records of lookups do not wait for the disk, but are written to it soon. */
  #writeBehind(): void {
    this.#stopTicks?.()
    this.#stopTicks = undefined
    // An error is told to the next who waits for the disk.
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

  /** What stands at the place of `record`, when it is that object. */
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

  /** Rewrites the log in the background. */
  #compactAside(): void {
    const { bytes } = this.#log.usage
    if (this.#compacting || bytes < this.#retryBytes) return
    this.#compactOnce().catch(() => {
      // The log as it is does as well; `sync` tells of an error that lasts.
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
 * Where the storage is full, or may not be written to any more, a handle ends with this run (`flushed` tells); the change itself is made, above all a removal, which makes
 * room.
 */
async function unlessFull(noted: Promise<void> | undefined): Promise<void> {
  try {
    await noted
  } catch (error) {
    if (!isErrno(error, 'ENOSPC', 'EDQUOT', 'EROFS')) throw error
  }
}
