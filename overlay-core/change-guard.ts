import { OverlayError } from './api/errno.ts'
import type { Overlay, Squash } from './api/overlay-api.ts'
import type { MountOptions } from './api/params.ts'
import {
  Access,
  type Attr,
  type AttrChange,
  type ChangeInfo,
  type CreateOptions,
  type Cred,
  type CredOf,
  type DirEntry,
  type DirEntryPlus,
  type FileType,
  type Foreseen,
  type FreshUpper,
  type Inode,
  type LookupAttrs,
  type MaybePromise,
  type Name,
  type OpenFile,
  type Provenance,
  type PublishOptions,
  type ResumableOptions,
  type ResumableStage,
  type Stability,
  type StagedFile,
  type StatFs,
} from './api/types.ts'

/**
 * The paths that one protocol currently protects from the others, as names from the root. It is queried during a
 * call, so it returns at once.
 */
export interface ChangeGuard {
  /** False if nothing is protected, so that no other query is needed. */
  readonly active: boolean
  /** Whether the object at `path` is protected: its content, its attributes, and for a directory its list of names. */
  covers(path: readonly Name[]): boolean
  /** Whether the file is protected, under whatever name. */
  coversFile?(file: Pick<Inode, 'key' | 'generation'>): boolean
  /** Whether anything below the directory at `path` is protected. */
  coversBelow(path: readonly Name[]): boolean
}

/**
 * The same overlay for callers that must respect `guard`: a change of a protected object fails with EACCES, and `access` does not grant writing. A
 * hard link is protected if the file is, or any of its known names. Files that are already open for writing stay open.
 */
export function guardChanges(overlay: Overlay, guard: ChangeGuard): Overlay {
  return new GuardedOverlay(overlay, guard)
}

class GuardedOverlay implements Overlay {
  readonly root: Inode
  readonly uuid: Uint8Array
  readonly #to: Overlay
  readonly #guard: ChangeGuard

  constructor(overlay: Overlay, guard: ChangeGuard) {
    this.root = overlay.root
    this.uuid = overlay.uuid
    this.#to = overlay
    this.#guard = guard
  }

  get notices(): readonly string[] {
    return this.#to.notices
  }

  get readOnly(): boolean {
    return this.#to.readOnly
  }

  get options(): MountOptions {
    return this.#to.options
  }

  /** @throws EACCES */
  #needFree(inode: Inode): void {
    if (this.#isHeld(inode)) throw new OverlayError('EACCES', 'guard')
  }

  #isHeld(inode: Inode): boolean {
    if (!this.#guard.active) return false
    return this.#guard.coversFile?.(inode) === true || this.#to.paths(inode).some((path) => this.#guard.covers(path))
  }

  /** Checks that `name` may be added to or removed from `dir`. @throws EACCES */
  #needNameFree(dir: Inode, name: Name, withBelow = false): void {
    if (!this.#guard.active) return
    for (const path of this.#to.paths(dir)) {
      const own = [...path, name]
      if (this.#guard.covers(path) || this.#guard.covers(own) || (withBelow && this.#guard.coversBelow(own))) {
        throw new OverlayError('EACCES', 'guard', name)
      }
    }
  }

  access(cred: Cred, inode: Inode, mask: number): MaybePromise<number> {
    return this.#to.access(cred, inode, this.#isHeld(inode) ? mask & ~Access.write : mask)
  }

  async setattr(
    cred: Cred,
    inode: Inode,
    change: AttrChange,
    changeInfo?: ChangeInfo,
    guard?: (now: Attr) => void,
  ): Promise<Attr> {
    this.#needFree(inode)
    return await this.#to.setattr(cred, inode, change, changeInfo, guard)
  }

  create(cred: Cred, dir: Inode, name: Name, options: CreateOptions, changeInfo?: ChangeInfo): MaybePromise<Inode> {
    this.#needNameFree(dir, name)
    return this.#to.create(cred, dir, name, options, changeInfo)
  }

  async mkdir(cred: Cred, dir: Inode, name: Name, options: CreateOptions, changeInfo?: ChangeInfo): Promise<Inode> {
    this.#needNameFree(dir, name)
    return await this.#to.mkdir(cred, dir, name, options, changeInfo)
  }

  async symlink(
    cred: Cred,
    dir: Inode,
    name: Name,
    target: Uint8Array,
    options: CreateOptions,
    changeInfo?: ChangeInfo,
  ): Promise<Inode> {
    this.#needNameFree(dir, name)
    return await this.#to.symlink(cred, dir, name, target, options, changeInfo)
  }

  async mknod(
    cred: Cred,
    dir: Inode,
    name: Name,
    type: FileType,
    rdev: { major: number; minor: number },
    options: CreateOptions,
    changeInfo?: ChangeInfo,
  ): Promise<Inode> {
    this.#needNameFree(dir, name)
    return await this.#to.mknod(cred, dir, name, type, rdev, options, changeInfo)
  }

  async link(cred: Cred, inode: Inode, dir: Inode, name: Name, changeInfo?: ChangeInfo): Promise<void> {
    this.#needFree(inode)
    this.#needNameFree(dir, name)
    await this.#to.link(cred, inode, dir, name, changeInfo)
  }

  unlink(
    cred: Cred,
    dir: Inode,
    name: Name,
    changeInfo?: ChangeInfo,
    check?: (victim: Inode) => void,
  ): MaybePromise<void> {
    this.#needNameFree(dir, name)
    return this.#to.unlink(cred, dir, name, changeInfo, check)
  }

  async rmdir(
    cred: Cred,
    dir: Inode,
    name: Name,
    changeInfo?: ChangeInfo,
    check?: (victim: Inode) => void,
  ): Promise<void> {
    this.#needNameFree(dir, name)
    await this.#to.rmdir(cred, dir, name, changeInfo, check)
  }

  async rename(...call: Parameters<Overlay['rename']>): Promise<void> {
    const [, fromDir, fromName, toDir, toName] = call
    this.#needNameFree(fromDir, fromName, true)
    this.#needNameFree(toDir, toName, true)
    await this.#to.rename(...call)
  }

  provenance(cred: Cred, dir: Inode, name: Name): Promise<Provenance> {
    return this.#to.provenance(cred, dir, name)
  }

  removedNames(cred: Cred, dir: Inode): Promise<Name[]> {
    return this.#to.removedNames(cred, dir)
  }

  async restore(cred: Cred, dir: Inode, name: Name, check?: (current: Inode | undefined) => void): Promise<Inode> {
    this.#needNameFree(dir, name)
    return await this.#to.restore(cred, dir, name, check)
  }

  /** Nothing that clients see changes. */
  dropCopy(...copy: Parameters<Overlay['dropCopy']>): Promise<boolean> {
    return this.#to.dropCopy(...copy)
  }

  write(
    cred: Cred,
    inode: Inode,
    data: Uint8Array,
    position: number,
    stability: Stability,
    changeInfo?: ChangeInfo,
  ): MaybePromise<void> {
    this.#needFree(inode)
    return this.#to.write(cred, inode, data, position, stability, changeInfo)
  }

  async allocate(...args: Parameters<Overlay['allocate']>): Promise<void> {
    this.#needFree(args[1])
    await this.#to.allocate(...args)
  }

  open(cred: Cred, inode: Inode, how: { read?: boolean; write?: boolean; truncate?: boolean }): MaybePromise<OpenFile> {
    if (how.write === true || how.truncate === true) this.#needFree(inode)
    return this.#to.open(cred, inode, how)
  }

  async resumableStages(credOf: CredOf): Promise<ResumableStage[]> {
    return (await this.#to.resumableStages(credOf)).map((kept) => ({ ...kept, staged: this.#guarded(kept.staged) }))
  }

  async stage(cred: Cred, foreseen?: Foreseen, keep?: ResumableOptions): Promise<StagedFile> {
    return this.#guarded(await this.#to.stage(cred, foreseen, keep))
  }

  #guarded(staged: StagedFile): StagedFile {
    return {
      append: (chunks) => staged.append(chunks),
      skip: (bytes) => staged.skip(bytes),
      get sizeBytes() {
        return staged.sizeBytes
      },
      publish: async (options: PublishOptions) => {
        this.#needNameFree(options.dir, options.name)
        return await staged.publish(options)
      },
      discard: () => staged.discard(),
      suspend: () => staged.suspend(),
    }
  }

  async setxattr(cred: Cred, inode: Inode, name: string, value: Uint8Array, how?: 'create' | 'replace'): Promise<void> {
    this.#needFree(inode)
    await this.#to.setxattr(cred, inode, name, value, how)
  }

  async removexattr(cred: Cred, inode: Inode, name: string): Promise<void> {
    this.#needFree(inode)
    await this.#to.removexattr(cred, inode, name)
  }

  async setProtocolData(...call: Parameters<Overlay['setProtocolData']>): Promise<void> {
    this.#needFree(call[1])
    await this.#to.setProtocolData(...call)
  }

  // Read-only calls are passed through.

  lookup(cred: Cred, dir: Inode, name: Name, asked?: LookupAttrs): MaybePromise<Inode | undefined> {
    return this.#to.lookup(cred, dir, name, asked)
  }

  parent(cred: Cred, dir: Inode, asked?: LookupAttrs): MaybePromise<Inode> {
    return this.#to.parent(cred, dir, asked)
  }

  paths(inode: Inode): readonly (readonly Name[])[] {
    return this.#to.paths(inode)
  }

  inodeByKey(key: number, generation: number): MaybePromise<Inode> {
    return this.#to.inodeByKey(key, generation)
  }

  retain(inode: Inode): boolean {
    return this.#to.retain(inode)
  }

  retained(): Promise<void> | undefined {
    return this.#to.retained()
  }

  ownNames(cred: Cred, dir: Inode, depth: number): Promise<Name[]> {
    return this.#to.ownNames(cred, dir, depth)
  }

  identityBelow(inode: Inode, depth: number): string | undefined {
    return this.#to.identityBelow(inode, depth)
  }

  getattr(inode: Inode): MaybePromise<Attr> {
    return this.#to.getattr(inode)
  }

  readlink(cred: Cred, inode: Inode): MaybePromise<Uint8Array> {
    return this.#to.readlink(cred, inode)
  }

  readdir(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntry) => boolean): MaybePromise<boolean> {
    return this.#to.readdir(cred, dir, cookie, fill)
  }

  readdirPlus(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntryPlus) => boolean): MaybePromise<boolean> {
    return this.#to.readdirPlus(cred, dir, cookie, fill)
  }

  read(
    cred: Cred,
    inode: Inode,
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): MaybePromise<number> {
    return this.#to.read(cred, inode, buffer, offset, length, position)
  }

  commit(cred: Cred, inode: Inode, changeInfo?: ChangeInfo): Promise<void> {
    return this.#to.commit(cred, inode, changeInfo)
  }

  getxattr(cred: Cred, inode: Inode, name: string): Promise<Uint8Array | undefined> {
    return this.#to.getxattr(cred, inode, name)
  }

  listxattr(cred: Cred, inode: Inode): Promise<string[]> {
    return this.#to.listxattr(cred, inode)
  }

  getProtocolData(cred: Cred, inode: Inode, slot: string): Promise<Uint8Array | undefined> {
    return this.#to.getProtocolData(cred, inode, slot)
  }

  statfs(): Promise<StatFs> {
    return this.#to.statfs()
  }

  commitChanges(objects: readonly Inode[]): Promise<void> | undefined {
    return this.#to.commitChanges(objects)
  }

  sync(): Promise<void> {
    return this.#to.sync()
  }

  remount(...how: Parameters<Overlay['remount']>): Promise<void> {
    return this.#to.remount(...how)
  }

  freeze(directory: string, options: MountOptions, prepared?: boolean | FreshUpper): Promise<void> {
    return this.#to.freeze(directory, options, prepared)
  }

  squash(layers: readonly string[], directory: string): Squash {
    return this.#to.squash(layers, directory)
  }

  unmount(...how: Parameters<Overlay['unmount']>): Promise<void> {
    return this.#to.unmount(...how)
  }
}
