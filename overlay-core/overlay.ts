import type { OvlInode } from './dentry.ts'
import { create, link, mkdir, mknod, symlink } from './dir.ts'
import { syncUpper } from './durability.ts'
import { OverlayError } from './errno.ts'
import { commit, OpenHandle, read, write } from './file.ts'
import { attrFor, getattr, grantedAccess, needAccess, readlink, setattr } from './inode.ts'
import { cachedDentry, checkName, lookupDentry } from './namei.ts'
import { getNote, setNote } from './note.ts'
import type { Overlay } from './overlay-api.ts'
import { pathsOf } from './paths.ts'
import { type CheckedAttr, EXECUTE, may, need, READ, WRITE } from './permission.ts'
import { readdir, readdirPlus } from './readdir.ts'
import { rmdir, unlink } from './remove.ts'
import { type RenameOptions, rename } from './rename.ts'
import { stage } from './stage.ts'
import type { SuperBlock } from './superblock.ts'
import { statfsFd } from './sys/stat.ts'
import {
  type Attr,
  type AttrChange,
  type CreateOptions,
  type Cred,
  type DirEntry,
  type DirEntryPlus,
  FileType,
  type Inode,
  type Maybe,
  type Name,
  type OpenFile,
  type Stability,
  type StagedFile,
  type StatFs,
  type Wcc,
} from './types.ts'
import { getxattr, listxattr, removexattr, setxattr } from './xattr.ts'

/** The overlay as adapters use it: checks that it is mounted and that the caller may, then hands on to the modules. */
export class MountedOverlay implements Overlay {
  readonly root: Inode
  readonly readOnly: boolean
  readonly uuid: Uint8Array
  readonly #sb: SuperBlock
  readonly #close: () => void
  #mounted = true

  /** @param close closes the layer roots and gives the claims up */
  constructor(sb: SuperBlock, close: () => void) {
    this.#sb = sb
    this.#close = close
    this.root = sb.root
    this.readOnly = sb.upper === undefined
    this.uuid = sb.uuid
  }

  lookup(cred: Cred, dir: Inode, name: Name): Maybe<Inode | undefined> {
    const parent = this.#directory(dir)
    const allowed = needAccess(this.#sb, cred, parent, EXECUTE, 'lookup')
    if (allowed instanceof Promise) return allowed.then(() => this.#lookupIn(parent, name))
    return this.#lookupIn(parent, name)
  }

  #lookupIn(dir: OvlInode, name: Name): Maybe<Inode | undefined> {
    const cached = cachedDentry(this.#sb, dir, name)
    if (cached) return cached.inode
    checkName('lookup', name)
    const dentry = lookupDentry(this.#sb, dir, name)
    return dentry instanceof Promise ? dentry.then(({ inode }) => inode) : dentry.inode
  }

  parent(cred: Cred, dir: Inode): Maybe<Inode> {
    const inode = this.#directory(dir)
    const allowed = needAccess(this.#sb, cred, inode, EXECUTE, 'lookup')
    const parent = inode === this.#sb.root ? inode : inode.aliases[0]?.dir
    if (!parent) throw new OverlayError('ESTALE', 'lookup')
    return allowed instanceof Promise ? allowed.then(() => parent) : parent
  }

  paths(inode: Inode): readonly (readonly Name[])[] {
    return pathsOf(this.#sb.root, this.#object(inode))
  }

  inodeByKey(key: number, generation: number): Maybe<Inode> {
    this.#enter()
    return this.#sb.handles.find(key, generation)
  }

  retain(inode: Inode): void {
    this.#sb.handles.retain(this.#object(inode))
  }

  retained(): Promise<void> | undefined {
    return this.#sb.handles.flushed()
  }

  getattr(inode: Inode): Maybe<Attr> {
    return getattr(this.#sb, this.#object(inode))
  }

  access(cred: Cred, inode: Inode, mask: number): Maybe<number> {
    const attr = attrFor(this.#sb, cred, this.#object(inode))
    if (attr instanceof Promise) return attr.then((now) => grantedAccess(cred, now, mask))
    return grantedAccess(cred, attr, mask)
  }

  async setattr(cred: Cred, inode: Inode, change: AttrChange, wcc?: Wcc, guard?: (now: Attr) => void): Promise<Attr> {
    const object = this.#object(inode)
    return await this.#sb.descriptors.run(() => setattr(this.#sb, cred, object, change, { wcc, guard }))
  }

  readlink(_cred: Cred, inode: Inode): Maybe<Uint8Array> {
    return readlink(this.#sb, this.#object(inode))
  }

  async create(cred: Cred, dir: Inode, name: Name, options: CreateOptions, wcc?: Wcc): Promise<Inode> {
    return await create(this.#sb, cred, this.#directory(dir), name, options, wcc)
  }

  async mkdir(cred: Cred, dir: Inode, name: Name, options: CreateOptions, wcc?: Wcc): Promise<Inode> {
    return await mkdir(this.#sb, cred, this.#directory(dir), name, options, wcc)
  }

  async symlink(
    cred: Cred,
    dir: Inode,
    name: Name,
    target: Uint8Array,
    options: CreateOptions,
    wcc?: Wcc,
  ): Promise<Inode> {
    return await symlink(this.#sb, cred, this.#directory(dir), name, target, options, wcc)
  }

  async mknod(
    cred: Cred,
    dir: Inode,
    name: Name,
    type: FileType,
    rdev: { major: number; minor: number },
    options: CreateOptions,
    wcc?: Wcc,
  ): Promise<Inode> {
    return await mknod(this.#sb, cred, this.#directory(dir), name, type, rdev, options, wcc)
  }

  async link(cred: Cred, inode: Inode, dir: Inode, name: Name, wcc?: Wcc): Promise<void> {
    await link(this.#sb, cred, this.#object(inode), this.#directory(dir), name, wcc)
  }

  async unlink(cred: Cred, dir: Inode, name: Name, wcc?: Wcc, check?: (victim: Inode) => void): Promise<void> {
    await unlink(this.#sb, cred, this.#directory(dir), name, wcc, check)
  }

  async rmdir(cred: Cred, dir: Inode, name: Name, wcc?: Wcc, check?: (victim: Inode) => void): Promise<void> {
    await rmdir(this.#sb, cred, this.#directory(dir), name, wcc, check)
  }

  async rename(
    cred: Cred,
    fromDir: Inode,
    fromName: Name,
    toDir: Inode,
    toName: Name,
    options: RenameOptions = {},
  ): Promise<void> {
    const from = { dir: this.#directory(fromDir), name: fromName }
    const to = { dir: this.#directory(toDir), name: toName }
    await rename(this.#sb, cred, from, to, options)
  }

  readdir(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntry) => boolean): Maybe<boolean> {
    const inode = this.#directory(dir)
    const allowed = needAccess(this.#sb, cred, inode, READ, 'readdir')
    if (allowed instanceof Promise) return allowed.then(() => readdir(this.#sb, inode, cookie, fill))
    return readdir(this.#sb, inode, cookie, fill)
  }

  readdirPlus(cred: Cred, dir: Inode, cookie: number, fill: (entry: DirEntryPlus) => boolean): Maybe<boolean> {
    const inode = this.#directory(dir)
    const attr = attrFor(this.#sb, cred, inode)
    const go = (now: CheckedAttr) => {
      need(cred, now, READ, 'readdir')
      return readdirPlus(this.#sb, inode, cookie, may(cred, now, EXECUTE), fill)
    }
    return attr instanceof Promise ? attr.then(go) : go(attr)
  }

  read(cred: Cred, inode: Inode, buffer: Uint8Array, offset: number, length: number, position: number): Maybe<number> {
    return read(this.#sb, cred, this.#regular(inode), buffer, offset, length, position)
  }

  write(cred: Cred, inode: Inode, data: Uint8Array, position: number, stability: Stability, wcc?: Wcc): Maybe<void> {
    return write(this.#sb, cred, this.#regular(inode), data, position, stability, wcc)
  }

  async commit(_cred: Cred, inode: Inode, wcc?: Wcc): Promise<void> {
    const object = this.#object(inode)
    await this.#sb.descriptors.run(async () => {
      if (object.type === FileType.regular) await commit(this.#sb, object, wcc)
      else await this.#sb.durability.commit(this.#sb, [object])
    })
  }

  async open(
    cred: Cred,
    inode: Inode,
    how: { read?: boolean; write?: boolean; truncate?: boolean },
  ): Promise<OpenFile> {
    const object = this.#regular(inode)
    const sb = this.#sb
    const writes = how.write === true || how.truncate === true
    if (writes && !sb.upper) throw new OverlayError('EROFS', 'open')
    return await sb.descriptors.run(async () => {
      need(cred, await attrFor(sb, cred, object), (how.read ? READ : 0) | (writes ? WRITE : 0), 'open')
      const file = await sb.files.acquire(sb, object, writes)
      const handle = new OpenHandle(sb, cred, file, how.read === true, how.write === true)
      try {
        if (how.truncate) await setattr(sb, cred, object, { size: 0, mtime: 'now' })
      } catch (error) {
        handle.close()
        throw error
      }
      return handle
    })
  }

  async stage(cred: Cred, mode?: number): Promise<StagedFile> {
    this.#enter()
    return await stage(this.#sb, cred, mode)
  }

  async getxattr(cred: Cred, inode: Inode, name: string): Promise<Uint8Array | undefined> {
    return await getxattr(this.#sb, cred, this.#object(inode), name)
  }

  async setxattr(cred: Cred, inode: Inode, name: string, value: Uint8Array, how?: 'create' | 'replace'): Promise<void> {
    await setxattr(this.#sb, cred, this.#object(inode), name, value, how)
  }

  async removexattr(cred: Cred, inode: Inode, name: string): Promise<void> {
    await removexattr(this.#sb, cred, this.#object(inode), name)
  }

  async listxattr(cred: Cred, inode: Inode): Promise<string[]> {
    return await listxattr(this.#sb, cred, this.#object(inode))
  }

  async getNote(_cred: Cred, inode: Inode, slot: string): Promise<Uint8Array | undefined> {
    return await getNote(this.#sb, this.#object(inode), slot)
  }

  async setNote(cred: Cred, inode: Inode, slot: string, value: Uint8Array | undefined): Promise<void> {
    await setNote(this.#sb, cred, this.#object(inode), slot, value)
  }

  async statfs(): Promise<StatFs> {
    this.#enter()
    const stat = await statfsFd((this.#sb.root as OvlInode).real.fd)
    return {
      totalBytes: stat.blocks * stat.blockSize,
      freeBytes: stat.blocksFree * stat.blockSize,
      availableBytes: stat.blocksAvailable * stat.blockSize,
      totalFiles: stat.files,
      freeFiles: stat.filesFree,
      nameMax: stat.nameMax,
      blockSize: stat.blockSize,
    }
  }

  commitChanges(objects: readonly Inode[]): Promise<void> | undefined {
    this.#enter()
    return this.#sb.durability.commit(this.#sb, objects as readonly OvlInode[])
  }

  async sync(): Promise<void> {
    this.#enter()
    await this.#flush()
  }

  async unmount(): Promise<void> {
    if (!this.#mounted) return
    this.#mounted = false
    const sb = this.#sb
    await sb.descriptors.idle()
    sb.files.closeAll()
    await this.#flush()
    await sb.handles.close()
    sb.descriptors.closeAll()
    sb.dcache.clear()
    this.#close()
  }

  async #flush(): Promise<void> {
    const { upper, options, handles } = this.#sb
    await handles.sync()
    if (upper && !options.volatile) await syncUpper(this.#sb)
  }

  #enter(): void {
    if (!this.#mounted) throw new OverlayError('ESTALE', 'overlay')
  }

  #object(inode: Inode): OvlInode {
    if (!this.#mounted) throw new OverlayError('ESTALE', 'overlay')
    return inode as OvlInode
  }

  #directory(inode: Inode): OvlInode {
    if (inode.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'lookup')
    return this.#object(inode)
  }

  #regular(inode: Inode): OvlInode {
    if (inode.type === FileType.directory) throw new OverlayError('EISDIR', 'open')
    if (inode.type !== FileType.regular) throw new OverlayError('EINVAL', 'open')
    return this.#object(inode)
  }
}
