import { isErrno, isUnwritable, OverlayError } from '../api/errno.ts'
import { both } from '../api/maybe-promise.ts'
import type { MaybePromise, Name } from '../api/types.ts'
import { identityOf } from '../layer/identity.ts'
import { LowerReal } from '../stack/lower-real.ts'
import type { KernelHandle } from '../sys/handle.ts'
import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import type { HandleRecord } from './handle-log.ts'
import type { HandleStore } from './handle-store.ts'
import { decodeNameless, encodeNameless, type NamelessRecord } from './nameless.ts'

/** Stands for the root in the records of a stack, where each overlay has another root. No object has this key. */
const ROOT_KEY = 0

/** Finds objects by their records, for all callers; part of the superblock. */
export interface Finder {
  /** The root of the overlay. */
  root(): OvlInode
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
 * A lower object is at the same place for all overlays that see the lowers in the same way, so they have one record of it together. An overlay's own
 * records are of objects with an upper, which it may have moved; they come first.
 *
 * A rename records the new place before it happens, so that after a crash in between one of the two recorded places is right.
 */
export class HandleTable {
  readonly #dcache: DentryCache
  readonly #finder: Finder
  readonly #own: HandleStore
  /** The records of lower objects that the overlays of a stack have together; undefined if this overlay had them for itself so far. */
  #ofStack: HandleStore | undefined
  /** Whether this overlay records lower objects there. */
  #shares = false

  constructor(dcache: DentryCache, finder: Finder, own: HandleStore, ofStack: HandleStore | undefined) {
    this.#dcache = dcache
    this.#finder = finder
    this.#own = own
    this.share(ofStack)
  }

  /** Records lower objects from now on in what the overlays of a stack have together; undefined: in its own log. */
  share(ofStack: HandleStore | undefined): void {
    this.#shares = ofStack !== undefined
    // Clients may have handles of what was recorded there before.
    if (ofStack) this.#ofStack = ofStack
  }

  /** The number of identities that this overlay remembers by itself, and their bytes on disk. */
  get usage(): { handles: number; bytes: number; liveBytes: number } {
    return this.#own.usage
  }

  /** Remembers `inode` and the directories above it from now on. Returns whether `flushed` must tell when that survives the process; otherwise it does already. */
  retain(inode: OvlInode): boolean {
    const alias = inode.retained ? undefined : inode.alias
    if (alias) {
      inode.retained = true
      this.retain(alias.dir)
      this.#put(inode, alias.dir, alias.name)
    }
    return this.#own.unflushed || this.#ofStack?.unflushed === true
  }

  /** Resolves when everything retained so far survives the death of the process; undefined if it does already. @throws the error of the disk */
  flushed(): Promise<void> | undefined {
    return both(this.#own.flushed(), this.#ofStack?.flushed())
  }

  /** Records the present place of `inode`, if a client knows it. */
  remember(inode: OvlInode): void {
    const alias = inode.alias
    if (!alias || !this.#known(inode)) return
    this.retain(alias.dir)
    this.#put(inode, alias.dir, alias.name)
  }

  /** Records the next place of `inode`; must be awaited before it moves. If there is no space for the record, it moves anyway. */
  async moving(inode: OvlInode, dir: OvlInode, name: Name): Promise<void> {
    if (!this.#known(inode)) return
    this.retain(dir)
    this.#putOwn(inode, dir.key, name)
    await unlessFull(this.flushed())
  }

  /** Records that `inode` will have no known name, only a kernel handle; must be awaited before the last known name is removed. */
  async losingName(inode: OvlInode, kernelHandle: KernelHandle): Promise<void> {
    if (!this.#known(inode)) return
    const { fileIdHi, fileIdLo, type, lowerNlink } = inode
    this.#putOwn(inode, 0, encodeNameless({ fileIdHi, fileIdLo, type, lowerNlink, kernelHandle }))
    await unlessFull(this.flushed())
  }

  /** Records that the object is gone permanently. What the stack knows of a lower object stays for others; here its name leads elsewhere. */
  forget({ key, generation }: OvlInode): void {
    this.#own.remove(key, generation)
  }

  /** @throws ESTALE */
  find(key: number, generation: number): MaybePromise<OvlInode> {
    const inode = this.#dcache.inode(key)
    if (!inode) return this.#findAgain(key, generation)
    if (inode.generation === generation) return inode
    throw new OverlayError('ESTALE', 'handle')
  }

  /** Whether a power loss could lose the recorded place of an object with an upper. */
  get undurable(): boolean {
    return this.#own.undurable
  }

  /** Makes the recorded places of objects with an upper durable, as far as there is space for them. Those above them have an upper too. */
  async makeDurable(): Promise<void> {
    await unlessFull(this.#own.makeDurable())
  }

  /** Makes all records durable, and rewrites logs that are mostly obsolete. @throws the error of the disk */
  async sync(): Promise<void> {
    await this.#ofStack?.sync()
    await this.#own.sync()
  }

  /** Makes durable what overlays on the stack have recorded together. @throws the error of the disk */
  async settleShared(): Promise<void> {
    await this.#ofStack?.makeDurable()
  }

  /** Writes the records, durably or not, and closes the overlay's own log in any case. @throws the error of the disk */
  async close(durably: boolean): Promise<void> {
    try {
      if (durably) await this.#ofStack?.sync()
    } finally {
      await this.#own.close(durably)
    }
  }

  #known(inode: OvlInode): boolean {
    const { key, generation } = inode
    return inode.retained || this.#own.has(key, generation) || this.#ofStack?.has(key, generation) === true
  }

  #put(inode: OvlInode, dir: OvlInode, name: Name): void {
    const { key, generation } = inode
    const shared = this.#shares ? this.#ofStack : undefined
    if (shared === undefined || !this.#isOfLowers(inode, dir)) {
      this.#putOwn(inode, dir.key, name)
      return
    }
    if (this.#dcache.inode(key) !== inode) return
    shared.put({ key, generation, dirKey: dir === this.#finder.root() ? ROOT_KEY : dir.key, name })
    this.#own.leave(key, generation)
  }

  #putOwn(inode: OvlInode, dirKey: number, name: string): void {
    const { key, generation } = inode
    // A record of an object that was just removed must not replace that of the object that got its key.
    if (this.#dcache.inode(key) === inode) this.#own.put({ key, generation, dirKey, name })
  }

  /** Whether every overlay on the stack that did not change them has `inode` in `dir`: both have the identity of the lower object. */
  #isOfLowers(inode: OvlInode, dir: OvlInode): boolean {
    if (inode.upper || !hasIdentityOfLower(inode)) return false
    return dir === this.#finder.root() || hasIdentityOfLower(dir)
  }

  async #findAgain(key: number, generation: number | undefined): Promise<OvlInode> {
    for (const record of await this.#own.find(key)) {
      const inode = await this.#at(record, generation)
      if (inode) return inode
    }
    for (const record of (await this.#ofStack?.find(key)) ?? []) {
      const inode = await this.#at(record, generation)
      if (!inode) continue
      // Confirms it, and the directories above it, in case they were recorded for earlier layers.
      this.retain(inode)
      return inode
    }
    throw new OverlayError('ESTALE', 'handle')
  }

  /** The object at the place of `record`, if it is the recorded one, and has this generation if that is known. */
  async #at(record: HandleRecord, generation: number | undefined): Promise<OvlInode | undefined> {
    if (generation !== undefined && record.generation !== generation) return undefined
    try {
      const nameless = decodeNameless(record.name)
      if (nameless) return await this.#finder.nameless(record, nameless)
      const dir = await this.#directory(record.dirKey)
      const inode = await this.#finder.lookup(dir, record.name)
      return inode && inode.key === record.key && inode.generation === record.generation ? inode : undefined
    } catch (error) {
      if (isErrno(error, 'ESTALE', 'ENOENT', 'ENOTDIR')) return undefined
      throw error
    }
  }

  #directory(key: number): MaybePromise<OvlInode> {
    if (key === ROOT_KEY) return this.#finder.root()
    return this.#dcache.inode(key) ?? this.#findAgain(key, undefined)
  }
}

/** Whether the identity of `inode` is that of its topmost lower, which the overlays of a stack share. */
function hasIdentityOfLower({ lower, key, generation }: OvlInode): boolean {
  if (!(lower instanceof LowerReal) || lower.attr === undefined) return false
  const identity = identityOf(lower.layer, lower.attr)
  return identity.key === key && identity.generation === generation
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
