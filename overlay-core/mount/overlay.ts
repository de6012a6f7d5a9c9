import { bestEffort } from '../api/errno.ts'
import type { Overlay, Squash, Stack } from '../api/overlay-api.ts'
import type { MountOptions } from '../api/params.ts'
import {
  type Attr,
  type ChangeInfo,
  type CreateOptions,
  type Cred,
  type CredOf,
  type DirEntry,
  type DirEntryPlus,
  FileType,
  type Inode,
  type LookupAttrs,
  type MaybePromise,
  type Name,
  type OpenFile,
  type Provenance,
  type ResumableStage,
  type Stability,
  type StagedFile,
  type StatFs,
} from '../api/types.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import { lookup, lookupParent } from '../lookup/lookup.ts'
import { readdir, readdirPlus } from '../lookup/readdir.ts'
import { isCurrent, revalidateInode } from '../lookup/revalidate-inode.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, getattr, grantedAccess, needAccess, readlink } from '../objects/inode.ts'
import { pathsOf } from '../objects/paths.ts'
import { EXECUTE, may, need, READ } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { allocate } from '../operations/allocate.ts'
import { create, link, mkdir, mknod, symlink } from '../operations/dir.ts'
import { dropCopy } from '../operations/drop-copy.ts'
import { commit, needRegular, openFile, read, write } from '../operations/file.ts'
import { identityBelow, ownNames } from '../operations/own-names.ts'
import { getProtocolData, setProtocolData } from '../operations/protocol-data.ts'
import { rmdir, unlink } from '../operations/remove.ts'
import { type RenameOptions, rename } from '../operations/rename.ts'
import { provenance, removedNames, restore } from '../operations/restore.ts'
import { setattr } from '../operations/setattr.ts'
import { resumableStages, stage } from '../operations/stage.ts'
import { getxattr, listxattr, removexattr, setxattr } from '../operations/xattr.ts'
import { needDirectory, notMounted } from './call-errors.ts'
import { squashOf } from './squash-of.ts'
import { statfsOf } from './statfs.ts'
import { registerSuperBlock } from './superblock-of.ts'
import { flush, letGo, type Mounting } from './unmount.ts'

/** The overlay for adapters. Checks that it is mounted and what the caller may do, then runs each call inside the barrier on objects of the present stack. */
export class MountedOverlay implements Overlay {
  readonly root: Inode
  readonly uuid: Uint8Array
  readonly #sb: SuperBlock
  readonly #mounting: Mounting
  #mounted = true
  #remounting: Promise<unknown> = Promise.resolve()

  constructor(sb: SuperBlock, mounting: Mounting) {
    this.#sb = sb
    registerSuperBlock(this, sb)
    this.#mounting = mounting
    this.root = sb.root
    this.uuid = sb.uuid
  }

  get notices(): readonly string[] {
    return this.#sb.notices
  }

  get readOnly(): boolean {
    return this.#sb.readOnly
  }

  get options(): MountOptions {
    return this.#sb.options
  }

  lookup(cred: Cred, dir: Inode, name: Name, asked?: LookupAttrs): MaybePromise<Inode | undefined> {
    return this.#inDirectory(dir, (parent) => lookup(this.#sb, cred, parent, name, asked))
  }

  parent(cred: Cred, dir: Inode, asked?: LookupAttrs): MaybePromise<Inode> {
    return this.#inDirectory(dir, (inode) => lookupParent(this.#sb, cred, inode, asked))
  }

  paths(inode: Inode): readonly (readonly Name[])[] {
    this.#enter()
    return pathsOf(this.#sb.root, inode as OvlInode)
  }

  inodeByKey(key: number, generation: number): MaybePromise<Inode> {
    if (!this.#mounted) throw notMounted()
    const { handles, barrier } = this.#sb
    if (!barrier.open) return barrier.enter(() => this.inodeByKey(key, generation))
    const inode = handles.find(key, generation)
    if (inode instanceof Promise) return barrier.count(inode)
    return isCurrent(this.#sb, inode) ? inode : this.#on(inode, (current) => current)
  }

  retain(inode: Inode): boolean {
    return this.#sb.handles.retain(inode as OvlInode)
  }

  retained(): Promise<void> | undefined {
    return this.#sb.handles.flushed()
  }

  getattr(inode: Inode): MaybePromise<Attr> {
    return this.#on(inode, (object) => getattr(this.#sb, object))
  }

  access(cred: Cred, inode: Inode, mask: number): MaybePromise<number> {
    return this.#on(inode, (object) => {
      const attr = attrFor(this.#sb, cred, object)
      if (attr instanceof Promise) return attr.then((now) => grantedAccess(cred, now, mask))
      return grantedAccess(cred, attr, mask)
    })
  }

  async setattr(...[cred, inode, change, changeInfo, guard]: Parameters<Overlay['setattr']>): Promise<Attr> {
    const sb = this.#sb
    return await this.#on(inode, (object) =>
      sb.descriptors.run(() => setattr(sb, cred, object, change, { changeInfo, guard })),
    )
  }

  readlink(_cred: Cred, inode: Inode): MaybePromise<Uint8Array> {
    return this.#on(inode, (object) => readlink(this.#sb, object))
  }

  create(cred: Cred, dir: Inode, name: Name, options: CreateOptions, changeInfo?: ChangeInfo): MaybePromise<Inode> {
    return this.#inDirectory(dir, (parent) => create(this.#sb, cred, parent, name, options, changeInfo))
  }

  async mkdir(cred: Cred, dir: Inode, name: Name, options: CreateOptions, changeInfo?: ChangeInfo): Promise<Inode> {
    return await this.#inDirectory(dir, (parent) => mkdir(this.#sb, cred, parent, name, options, changeInfo))
  }

  async symlink(...[cred, dir, name, target, options, changeInfo]: Parameters<Overlay['symlink']>): Promise<Inode> {
    return await this.#inDirectory(dir, (parent) => symlink(this.#sb, cred, parent, name, target, options, changeInfo))
  }

  async mknod(...[cred, dir, name, type, rdev, options, changeInfo]: Parameters<Overlay['mknod']>): Promise<Inode> {
    return await this.#inDirectory(dir, (parent) =>
      mknod(this.#sb, cred, parent, name, type, rdev, options, changeInfo),
    )
  }

  async link(cred: Cred, inode: Inode, dir: Inode, name: Name, changeInfo?: ChangeInfo): Promise<void> {
    await this.#inBoth(inode, dir, (object, parent) => link(this.#sb, cred, object, parent, name, changeInfo))
  }

  unlink(
    cred: Cred,
    dir: Inode,
    name: Name,
    changeInfo?: ChangeInfo,
    check?: (victim: Inode) => void,
  ): MaybePromise<void> {
    return this.#inDirectory(dir, (parent) => unlink(this.#sb, cred, parent, name, changeInfo, check))
  }

  async rmdir(
    cred: Cred,
    dir: Inode,
    name: Name,
    changeInfo?: ChangeInfo,
    check?: (victim: Inode) => void,
  ): Promise<void> {
    await this.#inDirectory(dir, (parent) => rmdir(this.#sb, cred, parent, name, changeInfo, check))
  }

  async rename(
    cred: Cred,
    fromDir: Inode,
    fromName: Name,
    toDir: Inode,
    toName: Name,
    options: RenameOptions = {},
  ): Promise<void> {
    needDirectory(fromDir)
    await this.#inBoth(fromDir, toDir, (from, to) =>
      rename(this.#sb, cred, { dir: from, name: fromName }, { dir: to, name: toName }, options),
    )
  }

  async provenance(cred: Cred, dir: Inode, name: Name): Promise<Provenance> {
    return await this.#inDirectory(dir, (inode) => provenance(this.#sb, cred, inode, name))
  }

  async removedNames(cred: Cred, dir: Inode): Promise<Name[]> {
    return await this.#inDirectory(dir, (inode) => removedNames(this.#sb, cred, inode))
  }

  async ownNames(cred: Cred, dir: Inode, depth: number): Promise<Name[]> {
    return await this.#inDirectory(dir, (inode) => ownNames(this.#sb, cred, inode, depth))
  }

  identityBelow(inode: Inode, depth: number): string | undefined {
    return identityBelow(this.#sb, inode as OvlInode, depth)
  }

  async restore(cred: Cred, dir: Inode, name: Name, check?: (current: Inode | undefined) => void): Promise<Inode> {
    return await this.#inDirectory(dir, (inode) => restore(this.#sb, cred, inode, name, check))
  }

  async dropCopy(cred: Cred, dir: Inode, name: Name, seen: Attr): Promise<boolean> {
    this.#enter()
    return await this.#sb.barrier.alone(() => dropCopy(this.#sb, cred, dir as OvlInode, name, seen))
  }

  readdir(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntry) => boolean): MaybePromise<boolean> {
    return this.#inDirectory(dir, (inode) => {
      const allowed = needAccess(this.#sb, cred, inode, READ, 'readdir')
      if (allowed instanceof Promise) return allowed.then(() => readdir(this.#sb, inode, cookie, fill))
      return readdir(this.#sb, inode, cookie, fill)
    })
  }

  readdirPlus(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntryPlus) => boolean): MaybePromise<boolean> {
    return this.#inDirectory(dir, (inode) => {
      const attr = attrFor(this.#sb, cred, inode)
      const go = (now: CheckedAttr) => {
        need(cred, now, READ, 'readdir')
        return readdirPlus(this.#sb, inode, cookie, may(cred, now, EXECUTE), fill)
      }
      return attr instanceof Promise ? attr.then(go) : go(attr)
    })
  }

  read(
    cred: Cred,
    inode: Inode,
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): MaybePromise<number> {
    needRegular(inode)
    return this.#on(inode, (object) => read(this.#sb, cred, object, buffer, offset, length, position))
  }

  write(
    cred: Cred,
    inode: Inode,
    data: Uint8Array,
    position: number,
    stability: Stability,
    changeInfo?: ChangeInfo,
  ): MaybePromise<void> {
    needRegular(inode)
    return this.#on(inode, (object) => write(this.#sb, cred, object, data, position, stability, changeInfo))
  }

  async allocate(...args: Parameters<Overlay['allocate']>): Promise<void> {
    await this.#on(args[1], (object) => allocate(this.#sb, object, args))
  }

  async commit(_cred: Cred, inode: Inode, changeInfo?: ChangeInfo): Promise<void> {
    const sb = this.#sb
    await this.#on(inode, (object) =>
      sb.descriptors.run(async () => {
        if (object.type === FileType.regular) await commit(sb, object, changeInfo)
        else await sb.durability.commit([object])
      }),
    )
  }

  async open(
    cred: Cred,
    inode: Inode,
    how: { read?: boolean; write?: boolean; truncate?: boolean },
  ): Promise<OpenFile> {
    needRegular(inode)
    const sb = this.#sb
    return await this.#on(inode, (object) => sb.descriptors.run(() => openFile(sb, cred, object, how)))
  }

  async resumableStages(credOf: CredOf): Promise<ResumableStage[]> {
    this.#enter()
    return await this.#sb.barrier.enter(() => resumableStages(this.#sb, credOf))
  }

  async stage(...[cred, foreseen, keep]: Parameters<Overlay['stage']>): Promise<StagedFile> {
    this.#enter()
    return await this.#sb.barrier.enter(() => stage(this.#sb, cred, foreseen, keep))
  }

  async getxattr(cred: Cred, inode: Inode, name: string): Promise<Uint8Array | undefined> {
    return await this.#on(inode, (object) => getxattr(this.#sb, cred, object, name))
  }

  async setxattr(cred: Cred, inode: Inode, name: string, value: Uint8Array, how?: 'create' | 'replace'): Promise<void> {
    await this.#on(inode, (object) => setxattr(this.#sb, cred, object, name, value, how))
  }

  async removexattr(cred: Cred, inode: Inode, name: string): Promise<void> {
    await this.#on(inode, (object) => removexattr(this.#sb, cred, object, name))
  }

  async listxattr(cred: Cred, inode: Inode): Promise<string[]> {
    return await this.#on(inode, (object) => listxattr(this.#sb, cred, object))
  }

  async getProtocolData(_cred: Cred, inode: Inode, slot: string): Promise<Uint8Array | undefined> {
    return await this.#on(inode, (object) => getProtocolData(this.#sb, object, slot))
  }

  async setProtocolData(...[cred, inode, slot, value, where]: Parameters<Overlay['setProtocolData']>): Promise<void> {
    await this.#on(inode, (object) => setProtocolData(this.#sb, cred, object, slot, value, where))
  }

  async statfs(): Promise<StatFs> {
    const { descriptors, root, charges } = this.#sb
    return await this.#on(root, ({ real }) =>
      descriptors.run(async () => statfsOf(await descriptors.of(real), charges?.quota)),
    )
  }

  commitChanges(objects: readonly Inode[]): Promise<void> | undefined {
    this.#enter()
    const sb = this.#sb
    const changed = objects as readonly OvlInode[]
    if (!sb.barrier.open) return sb.barrier.enter(async () => this.#commitAgain(changed)) as Promise<void>
    if (changed.some(({ stackVersion }) => stackVersion !== sb.stackVersion))
      return sb.barrier.count(this.#commitAgain(changed))
    return sb.durability.commitNames(changed)
  }

  /** Commits objects whose commit was interrupted by a remount. */
  async #commitAgain(objects: readonly OvlInode[]): Promise<void> {
    for (const object of objects) await bestEffort(() => revalidateInode(this.#sb, object))
    await this.#sb.durability.commitNames(objects)
  }

  async sync(): Promise<void> {
    this.#enter()
    await flush(this.#sb)
  }

  remount(options: MountOptions, { stack }: { readonly stack?: Stack | undefined } = {}): Promise<void> {
    return this.#inTurn(() => this.#mounting.remount(options, stack))
  }

  freeze(...[directory, options, prepared = false]: Parameters<Overlay['freeze']>): Promise<void> {
    return this.#inTurn(() => this.#mounting.freeze(directory, options, prepared))
  }

  squash(layers: readonly string[], directory: string): Squash {
    this.#enter()
    const inTurn = (change: () => Promise<void>) => this.#inTurn(change)
    return squashOf(this.#mounting, layers, directory, { isMounted: () => this.#mounted, inTurn })
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.#remounting.then(() => this.#enter()).then(change)
    // The caller learns about a failure; it must not affect the next remount.
    this.#remounting = turn.catch(() => undefined)
    return turn
  }

  async unmount({ sync = true }: { readonly sync?: boolean } = {}): Promise<void> {
    if (!this.#mounted) return
    this.#mounted = false
    await this.#remounting
    await letGo(this.#sb, this.#mounting, sync)
  }

  #enter(): void {
    if (!this.#mounted) throw notMounted()
  }

  /** Runs `work` inside the barrier, with `inode` as it is in the present stack; immediately if possible. */
  #on<T>(inode: Inode, work: (object: OvlInode) => MaybePromise<T>): MaybePromise<T> {
    if (!this.#mounted) throw notMounted()
    const sb = this.#sb
    const object = inode as OvlInode
    if (!sb.barrier.open) return sb.barrier.enter(() => this.#inside(object, work))
    const result = isCurrent(sb, object) ? work(object) : this.#inside(object, work)
    return result instanceof Promise ? sb.barrier.count(result) : result
  }

  #inside<T>(object: OvlInode, work: (object: OvlInode) => MaybePromise<T>): MaybePromise<T> {
    const waiting = revalidateInode(this.#sb, object)
    if (waiting === undefined) return work(object)
    return waiting.then(() => work(object))
  }

  #inDirectory<T>(dir: Inode, work: (dir: OvlInode) => MaybePromise<T>): MaybePromise<T> {
    needDirectory(dir)
    return this.#on(dir, work)
  }

  #inBoth<T>(first: Inode, dir: Inode, work: (first: OvlInode, dir: OvlInode) => MaybePromise<T>): MaybePromise<T> {
    needDirectory(dir)
    return this.#on(first, (object) => this.#inside(dir as OvlInode, (parent) => work(object, parent)))
  }
}
