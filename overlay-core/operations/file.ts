import { isErrno, OverlayError } from '../api/errno.ts'
import { after, ending } from '../api/maybe-promise.ts'
import {
  type Attr,
  type ChangeInfo,
  type Cred,
  FileType,
  type Inode,
  type MaybePromise,
  type OpenFile,
  type Stability,
} from '../api/types.ts'
import { changeOwner } from '../copy-up/owner.ts'
import { asksForAttributes } from '../layer/layer.ts'
import { type CheckedAttr, ownAttr } from '../layer/object-attr.ts'
import { revalidateInode } from '../lookup/revalidate-inode.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { RealFile } from '../objects/file-cache.ts'
import { attrFor, attrOf, getattr, getattrLocked } from '../objects/inode.ts'
import { EXECUTE, may, modeAfterWrite, need, READ, WRITE } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { fsync, pread, preadAside, preadNowait } from '../sys/data.ts'
import { statxFd } from '../sys/stat.ts'
import { nextData, nextHole } from './seek.ts'
import { setattr } from './setattr.ts'

/** @throws EISDIR · EINVAL it is not a regular file */
export function needRegular(inode: Inode): void {
  if (inode.type === FileType.directory) throw new OverlayError('EISDIR', 'open')
  if (inode.type !== FileType.regular) throw new OverlayError('EINVAL', 'open')
}

/** @see Overlay.read */
export function read(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): MaybePromise<number> {
  const attr = attrFor(sb, cred, inode)
  const { file } = inode
  if (!(attr instanceof Promise)) {
    needRead(cred, attr)
    if (file !== undefined && file.upper === (inode.upper !== undefined && inode.dataReal === undefined)) {
      const count = preadNowait(file.fd, buffer, offset, length, position)
      if (count === length || (count >= 0 && position + count >= attr.size)) return count
    }
  }
  return readWaiting(sb, cred, inode, attr, buffer, offset, length, position)
}

async function readWaiting(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  attr: MaybePromise<CheckedAttr>,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  needRead(cred, await attr)
  const file = await sb.files.acquire(inode, false)
  try {
    return await readAll(file.fd, buffer, offset, length, position)
  } finally {
    sb.files.release(file)
  }
}

/** Reads until `length` bytes are read or the file ends. */
async function readAll(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  let done = 0
  while (done < length) {
    let count = preadNowait(fd, buffer, offset + done, length - done, position + done)
    if (count < 0) count = await pread(fd, buffer, offset + done, length - done, position + done)
    if (count === 0) break
    done += count
  }
  return done
}

/** nfsd's rule for protocols without open: the owner may read, and so may anyone who may execute the file. */
function needRead(cred: Cred, attr: CheckedAttr): void {
  if (cred.uid === attr.uid || may(cred, attr, READ) || may(cred, attr, EXECUTE)) return
  throw new OverlayError('EACCES', 'read')
}

/** @see Overlay.write */
export function write(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  data: Uint8Array,
  position: number,
  stability: Stability,
  changeInfo?: ChangeInfo,
): MaybePromise<void> {
  if (sb.readOnly) throw new OverlayError('EROFS', 'write')
  const attr = attrFor(sb, cred, inode)
  const { file } = inode
  const atOnce = !(attr instanceof Promise) && file?.writable && modeAfterWrite(cred, attr) === attr.mode
  if (!atOnce)
    return sb.descriptors.run(() => writeWaiting(sb, cred, inode, attr, { data, position, stability, changeInfo }))
  needWrite(cred, attr)
  // The common case: a write that waits only for the disk.
  const epoch = sb.descriptors.enter()
  file.users++
  return ending(
    () => {
      const written = file.writer.write(data, position, changeInfo)
      return stability === 'unstable' ? written : after(written, () => sb.durability.commit([inode]))
    },
    () => {
      sb.files.release(file)
      sb.descriptors.leave(epoch)
    },
  )
}

async function writeWaiting(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  attr: MaybePromise<CheckedAttr>,
  {
    data,
    position,
    stability,
    changeInfo,
  }: { data: Uint8Array; position: number; stability: Stability; changeInfo: ChangeInfo | undefined },
): Promise<void> {
  needWrite(cred, await attr)
  const file = await sb.descriptors.resting(() => sb.files.acquire(inode, true))
  try {
    await writeThrough(sb, cred, file, data, position, changeInfo)
    // Not fdatasync, which may omit the rename that named a new or copied-up file, and with it all of its data.
    if (stability !== 'unstable') await sb.durability.commit([inode])
  } finally {
    sb.files.release(file)
  }
}

/** The owner may always write. */
export function needWrite(cred: Cred, attr: CheckedAttr): void {
  if (cred.uid !== attr.uid) need(cred, attr, WRITE, 'write')
}

async function writeThrough(
  sb: SuperBlock,
  cred: Cred,
  file: RealFile,
  data: Uint8Array,
  position: number,
  changeInfo?: ChangeInfo,
): Promise<void> {
  const before = changeInfo || cred.uid !== 0 || cred.dropsPrivilege ? await getattr(sb, file.inode) : undefined
  if (before && data.length > 0) await dropPrivilege(sb, cred, file, before)
  await file.writer.write(data, position, changeInfo)
}

/** Clears setuid and mostly setgid, like write(2) by an ordinary user (file_remove_privs). */
export async function dropPrivilege(sb: SuperBlock, cred: Cred, { fd, inode }: RealFile, attr: Attr): Promise<void> {
  if (modeAfterWrite(cred, attr) === attr.mode) return
  await inode.nodeLock.exclusive(async () => {
    const now = await getattrLocked(sb, inode)
    const mode = modeAfterWrite(cred, now)
    if (mode !== now.mode) await changeOwner(sb, inode, { fd, name: '' }, now, { mode })
    inode.changed()
  })
}

/** @see Overlay.commit */
export async function commit(sb: SuperBlock, inode: OvlInode, changeInfo?: ChangeInfo): Promise<void> {
  const attr = await getattr(sb, inode)
  if (changeInfo) changeInfo.before = attr
  await sb.durability.commit([inode])
  if (changeInfo) changeInfo.after = await getattr(sb, inode)
}

/** @see Overlay.open */
export async function openFile(
  sb: SuperBlock,
  cred: Cred,
  object: OvlInode,
  how: { read?: boolean; write?: boolean; truncate?: boolean },
): Promise<OpenFile> {
  const writes = how.write === true || how.truncate === true
  if (writes && sb.readOnly) throw new OverlayError('EROFS', 'open')
  need(cred, await attrFor(sb, cred, object), (how.read ? READ : 0) | (writes ? WRITE : 0), 'open')
  const file = await sb.descriptors.resting(() => sb.files.acquire(object, writes))
  const handle = new OpenHandle(sb, cred, file, how.read === true, how.write === true)
  try {
    if (how.truncate) await setattr(sb, cred, object, { size: 0, mtime: 'now' })
  } catch (error) {
    handle.close()
    throw error
  }
  return handle
}

/** An open file. It uses a real file of its inode, and switches to the upper one after a copy-up. */
export class OpenHandle implements OpenFile {
  readonly inode: OvlInode
  readonly #sb: SuperBlock
  readonly #cred: Cred
  readonly #canRead: boolean
  readonly #canWrite: boolean
  #file: RealFile | undefined
  /** The last attributes of a metadata-only copy whose name was removed, while its data is still open in the lower. */
  #lastAttr: Attr | undefined = undefined

  /** @param file acquired for this handle, which releases it */
  constructor(sb: SuperBlock, cred: Cred, file: RealFile, canRead: boolean, canWrite: boolean) {
    this.inode = file.inode
    this.#sb = sb
    this.#cred = cred
    this.#file = file
    this.#canRead = canRead
    this.#canWrite = canWrite
    this.inode.addLowerHandle(this)
  }

  get writes(): boolean {
    return this.#canWrite
  }

  read(buffer: Uint8Array, offset: number, length: number, position: number): MaybePromise<number> {
    if (!this.#canRead) throw new OverlayError('EBADF', 'read')
    const file = this.#settled() ? this.follow() : this.#inPresentStack(() => this.follow())
    if (file instanceof Promise) return file.then((now) => this.#readFrom(now, buffer, offset, length, position))
    return this.#readFrom(file, buffer, offset, length, position)
  }

  async readAside(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    if (!this.#canRead) throw new OverlayError('EBADF', 'read')
    const file = await (this.#settled() ? this.follow() : this.#inPresentStack(() => this.follow()))
    return await this.#using(file, () => preadAside(file.fd, buffer, offset, length, position))
  }

  async nextData(position: number): Promise<number> {
    if (!this.#canRead) throw new OverlayError('EBADF', 'read')
    const file = await (this.#settled() ? this.follow() : this.#inPresentStack(() => this.follow()))
    return await this.#using(file, () => nextData(file.fd, position))
  }

  async nextHole(position: number): Promise<number> {
    if (!this.#canRead) throw new OverlayError('EBADF', 'read')
    const file = await (this.#settled() ? this.follow() : this.#inPresentStack(() => this.follow()))
    return await this.#using(file, () => nextHole(file.fd, position))
  }

  write(data: Uint8Array, position: number): Promise<void> {
    if (!this.#canWrite) throw new OverlayError('EBADF', 'write')
    const held = this.#held()
    return this.#using(held, () =>
      this.#inPresentStack(async () => {
        if (this.#sb.readOnly) throw new OverlayError('EROFS', 'write')
        const file = await this.#writable()
        return await this.#using(file, async () => writeThrough(this.#sb, this.#cred, file, data, position))
      }),
    )
  }

  async truncate(size: number): Promise<void> {
    if (!this.#canWrite) throw new OverlayError('EBADF', 'truncate')
    const file = this.#held()
    const sb = this.#sb
    await this.#using(file, () =>
      this.#inPresentStack(() =>
        sb.descriptors.run(() => setattr(sb, this.#cred, this.inode, { size }, { byHandle: true })),
      ),
    )
  }

  async sync(): Promise<void> {
    const file = this.#held()
    if (!this.#sb.options.volatile) await this.#using(file, () => fsync(file.fd))
  }

  getattr(): MaybePromise<Attr> {
    return this.#settled() ? this.#getattr() : this.#inPresentStack(() => this.#getattr())
  }

  #getattr(): MaybePromise<Attr> {
    const { fd, upper, dropped } = this.#held()
    if (this.inode.unlinked && this.#lastAttr) return this.#lastAttr
    const { real, unlinked } = this.inode
    // A freeze may have made a lower of the copy.
    const copied = this.inode.upper ? !upper : dropped && real.layer.frozen && !unlinked
    const asks = upper && this.inode.upper !== undefined && asksForAttributes(this.inode.upper.layer)
    return copied || asks || this.inode.dataReal || this.#sb.keepsOwners
      ? getattr(this.#sb, this.inode)
      : attrOf(this.inode, statxFd(fd))
  }

  close(): void {
    const file = this.#file
    if (!file) return
    this.#file = undefined
    this.inode.removeLowerHandle(this)
    this.#sb.files.release(file)
  }

  #readFrom(
    file: RealFile,
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): MaybePromise<number> {
    const count = preadNowait(file.fd, buffer, offset, length, position)
    if (count === length || count === 0) return count
    return this.#using(file, () => readAll(file.fd, buffer, offset, length, position))
  }

  /** Whether the inode can be used without waiting. */
  #settled(): boolean {
    return this.#sb.barrier.open && this.inode.stackVersion === this.#sb.stackVersion
  }

  /** Runs `work` inside the barrier; a file that is in no layer any more continues with its open descriptors. */
  async #inPresentStack<T>(work: () => MaybePromise<T>): Promise<T> {
    return await this.#sb.barrier.enter(async () => {
      try {
        await revalidateInode(this.#sb, this.inode)
      } catch (error) {
        if (!isErrno(error, 'ESTALE')) throw error
      }
      return await work()
    })
  }

  /** Runs `work` with the descriptor safe against a close meanwhile. */
  async #using<T>(file: RealFile, work: () => Promise<T>): Promise<T> {
    file.users++
    try {
      return await work()
    } finally {
      this.#sb.files.release(file)
    }
  }

  #held(): RealFile {
    if (!this.#file) throw new OverlayError('EBADF', 'file')
    return this.#file
  }

  /** The real file to read from: the upper one as soon as it exists, also if a freeze has made a lower of it meanwhile. */
  follow(): MaybePromise<RealFile> {
    const file = this.#held()
    const { upper, dataReal, unlinked, real } = this.inode
    const isPresent = upper ? file.upper : !file.dropped || !real.layer.frozen
    if (isPresent || dataReal || unlinked) return file
    const fresh = this.#sb.files.acquire(this.inode, false)
    if (fresh instanceof Promise) return fresh.then((now) => this.#change(file, now))
    return this.#change(file, fresh)
  }

  /** The real file to write to. After a freeze, the one that was opened belongs to a lower. */
  #writable(): MaybePromise<RealFile> {
    const file = this.#held()
    if (file.writable) return file
    return this.#sb.descriptors.run(async () => {
      const fresh = await this.#sb.descriptors.resting(() => this.#sb.files.acquire(this.inode, true))
      return this.#change(file, fresh)
    })
  }

  /** Called under the lock of `inode` before the last name is removed: opens the upper file, or saves its attributes. */
  async beforeLastName(): Promise<void> {
    const file = await this.follow()
    if (file.upper || !(this.inode.upper || this.inode.dataReal)) return
    this.#lastAttr = { ...ownAttr((await getattrLocked(this.#sb, this.inode)) as CheckedAttr), nlink: 0 }
  }

  #change(old: RealFile, fresh: RealFile): RealFile {
    if (this.#file === old) {
      this.#file = fresh
      this.#sb.files.release(old)
    } else {
      this.#sb.files.release(fresh)
    }
    return this.#held()
  }
}
