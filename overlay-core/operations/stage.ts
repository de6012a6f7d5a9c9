import { refusedByQuota } from '../api/activity.ts'
import { bestEffort, OverlayError } from '../api/errno.ts'
import {
  type Attr,
  type Cred,
  type CredOf,
  FileType,
  type Foreseen,
  type Inode,
  type MaybePromise,
  type Name,
  type Ownership,
  type PublishOptions,
  type ResumableOptions,
  type ResumableStage,
  type StagedFile,
} from '../api/types.ts'
import { carryAttribute } from '../copy-up/copy-attributes.ts'
import { copyForWriters, copyingUpFirst, copyUp, type LongCopy, longCopyOf } from '../copy-up/copy-up.ts'
import { applyOwnership, giveMode, giveOwner, inherit } from '../copy-up/owner.ts'
import { asksForAttributes, type Real } from '../layer/layer.ts'
import type { Rights } from '../layer/object-rights.ts'
import { setTimes } from '../layer/storage.ts'
import { removeTemp } from '../layer/whiteout.ts'
import { checkName, lookupLocked, needMakeable, rememberUpper } from '../lookup/namei.ts'
import { revalidateInode } from '../lookup/revalidate-inode.ts'
import { adding } from '../objects/charges.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, getattrLocked, keepAttr, withPlaceFor } from '../objects/inode.ts'
import { EXECUTE, modeAfterWrite, need, newOwner, WRITE } from '../objects/permission.ts'
import { loadRights, loadRightsLocked } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { isMarker } from '../sidecar/protocol-data-store.ts'
import { truncateFd } from '../sys/attr.ts'
import { fsync, pwritev } from '../sys/data.ts'
import { O_RDONLY } from '../sys/flags.ts'
import { closeLater, closeSync, reopen } from '../sys/open.ts'
import { startFile } from '../sys/staged-file.ts'
import { type Stat, statxFd } from '../sys/stat.ts'
import { enterLocked, leaveChanged } from './changing-name.ts'
import { hasOtherNames, overwriteInPlace } from './overwrite-in-place.ts'
import { ownIno, putProtocolData } from './protocol-data.ts'
import { removingName, separateLink } from './remove.ts'
import { adoptResumable, dropResumable, makeResumable, openResumables } from './resumable-stage.ts'

const PRIVATE = 0o600
/** Up to this many first bytes are written by the call that creates the file. */
const SMALL_BYTES = 256 * 1024
/** The space behind the end of a file in its last block. */
const MOST_TAIL_BYTES = 8 * 1024
const NOTHING = new Uint8Array()

/** Starts a file in the work directory. @see Overlay.stage */
export async function stage(
  sb: SuperBlock,
  cred: Cred,
  foreseen: Foreseen = { mode: PRIVATE },
  keep?: ResumableOptions,
): Promise<StagedFile> {
  if (sb.readOnly) throw new OverlayError('EROFS', 'stage')
  const { uid = cred.uid, gid = cred.gid, mode } = foreseen
  const owner = { uid, gid, mode }
  if (!keep) return new Staged(sb, cred, owner)
  const fd = await sb.descriptors.run(() => makeResumable(sb, keep, mode & 0o777, givenOwner(sb, owner)))
  return new Staged(sb, cred, owner, { id: keep.id, fd, sizeBytes: 0 })
}

/** Opens the files that an earlier mount has kept. @see Overlay.resumableStages */
export async function resumableStages(sb: SuperBlock, credOf: CredOf): Promise<ResumableStage[]> {
  if (sb.readOnly) return []
  const files = await sb.descriptors.run(() => openResumables(sb))
  return files.map((file) => {
    const { uid, gid, mode } = statxFd(file.fd)
    const cred = credOf(file.about) ?? { uid, gid, groups: [], dropsPrivilege: true }
    return { ...file, uid, staged: new Staged(sb, cred, { uid, gid, mode: mode & 0o777 }, file) }
  })
}

/** The owner to set on a new file; undefined if the server already is the owner, or may not change it. */
function givenOwner(sb: SuperBlock, { uid, gid }: Ownership): { uid: number; gid: number } | undefined {
  const own = sb.keepsOwners || (uid === sb.serverUid && gid === sb.serverGid)
  return own ? undefined : { uid, gid }
}

class Staged implements StagedFile {
  sizeBytes = 0
  /** Whether the last append was a hole, which the file does not contain yet. */
  #endsInHole = false
  readonly #sb: SuperBlock
  readonly #cred: Cred
  readonly #temp: Name
  readonly #foreseen: Ownership
  /** -1 until the file is created, which waits for its first bytes. */
  #fd = -1
  /** Whether it replaced another file in a way that requires us to start writing its content to the disk. */
  #owesWriting = false
  #ended = false
  /** The id under which the file outlives the process. */
  #kept: string | undefined

  constructor(
    sb: SuperBlock,
    cred: Cred,
    foreseen: Ownership,
    kept?: { readonly id: string; readonly fd: number; readonly sizeBytes: number },
  ) {
    this.#kept = kept?.id
    this.#fd = kept?.fd ?? -1
    this.sizeBytes = kept?.sizeBytes ?? 0
    this.#sb = sb
    this.#cred = cred
    this.#temp = sb.tempName()
    this.#foreseen = foreseen
  }

  async append(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#ended) throw new OverlayError('EBADF', 'stage')
    let size = 0
    for (const chunk of chunks) size += chunk.length
    // The quota decides about the file when it is published; one that can never fit is refused at once.
    const most = this.#sb.charges?.quota.limits.bytes
    if (most !== undefined && this.sizeBytes + size > most) throw refusedByQuota('stage')
    // After a hole nothing is written by the call that creates the file, because that starts at offset 0.
    if (this.#fd < 0 && this.sizeBytes > 0) await this.#start(NOTHING)
    if (size > 0) this.#endsInHole = false
    if (this.#fd >= 0) await pwritev(this.#fd, chunks, this.sizeBytes)
    else if (size > SMALL_BYTES) {
      await this.#start(NOTHING)
      await pwritev(this.#fd, chunks, 0)
    } else {
      const content = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks, size)
      const written = await this.#start(content)
      if (written < size) await pwritev(this.#fd, [content.subarray(written)], written)
    }
    this.sizeBytes += size
  }

  skip(bytes: number): void {
    if (this.#ended) throw new OverlayError('EBADF', 'stage')
    this.sizeBytes += bytes
    this.#endsInHole = bytes > 0 || this.#endsInHole
  }

  /** Creates the file with its probable final attributes and its first bytes. Returns how many bytes were written. */
  async #start(content: Uint8Array): Promise<number> {
    const sb = this.#sb
    const { mode } = this.#foreseen
    const { fd, written } = await sb.descriptors.run(async () =>
      startFile(
        await sb.descriptors.of(sb.work as Real),
        this.#temp,
        mode & 0o777,
        givenOwner(sb, this.#foreseen),
        content,
      ),
    )
    this.#fd = fd
    return written
  }

  async publish(options: PublishOptions): Promise<Inode> {
    if (this.#ended) throw new OverlayError('EBADF', 'stage')
    const sb = this.#sb
    const dir = options.dir as OvlInode
    checkName('create', options.name)
    try {
      if (this.#fd < 0) await this.#start(NOTHING)
      if (this.#endsInHole) await truncateFd(this.#fd, this.sizeBytes)
      if (options.durable && !sb.options.volatile) await fsync(this.#fd)
      await this.#adopt()
      const inode = await sb.barrier.enter(async () => {
        await revalidateInode(sb, dir)
        return await copyingUpFirst(sb, (patient) =>
          sb.descriptors.run(() =>
            dir.dirLock.changing(options.name, (alone) => this.#publishLocked(dir, options, patient, alone)),
          ),
        )
      })
      this.#ended = true
      if (inode.unlinked) closeLater(this.#fd)
      else if (this.#owesWriting && !options.durable && !sb.options.volatile)
        sb.writeback.add(this.#fd, (inode.upper as Real).ino, sb.upper?.local === true)
      // It has a name, so closing the descriptor frees nothing and never waits on a local file system.
      else if (sb.upper?.local) closeSync(this.#fd)
      else closeLater(this.#fd)
      return inode
    } catch (error) {
      await this.discard()
      throw error
    }
  }

  /** Turns a resumable file that is about to be published into a temporary object. */
  async #adopt(): Promise<void> {
    const id = this.#kept
    if (id === undefined) return
    await this.#sb.descriptors.run(() => adoptResumable(this.#sb, id, this.#temp))
    this.#kept = undefined
  }

  async suspend(): Promise<void> {
    if (this.#kept === undefined) return await this.discard()
    if (!this.#ended) closeLater(this.#fd)
    this.#ended = true
  }

  async discard(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    const id = this.#kept
    if (id !== undefined) {
      closeLater(this.#fd)
      await this.#sb.descriptors.run(() => dropResumable(this.#sb, id))
      return
    }
    if (this.#fd < 0) return
    await bestEffort(() => {
      const { ino } = statxFd(this.#fd)
      this.#sb.protocolData?.forget(ino, this.#sb.protocolData.of(ino))
    })
    closeLater(this.#fd)
    await this.#sb.descriptors.run(() => removeTemp(this.#sb, this.#temp))
  }

  async #publishLocked(
    dir: OvlInode,
    options: PublishOptions,
    patient: boolean,
    alone: () => boolean,
  ): Promise<OvlInode | LongCopy> {
    const sb = this.#sb
    const { timesKept } = dir
    const { name } = options
    if (sb.readOnly) throw new OverlayError('EROFS', 'create', name)
    const dirAttr = await enterLocked(sb, this.#cred, dir, undefined)
    need(this.#cred, dirAttr, EXECUTE, 'lookup')
    const current = (await lookupLocked(sb, dir, name)).inode
    const attr = current && (await attrFor(sb, this.#cred, current))
    options.check?.(current, attr)
    if (current && current.type !== FileType.regular) {
      throw new OverlayError(current.type === FileType.directory ? 'EISDIR' : 'EINVAL', 'create', name)
    }
    if (attr) need(this.#cred, attr, WRITE, 'write')
    else need(this.#cred, dirAttr, WRITE | EXECUTE, 'create')
    needMakeable(sb, 'create', name)
    if (current && attr && options.keepLinks && hasOtherNames(current, attr)) {
      const { mtime } = options
      await overwriteInPlace(sb, this.#cred, current, {
        fd: this.#fd,
        temp: this.#temp,
        sizeBytes: this.sizeBytes,
        mtime,
      })
      return current
    }
    const linked = current?.indexName === undefined ? undefined : longCopyOf(sb, current)
    const long = patient ? undefined : (linked ?? copyForWriters(current))
    if (long) return long
    await copyUp(sb, dir)
    if (current) await separateLink(sb, current, dir, name)
    const syncFd = options.durable ? await openForSync(sb, dir) : undefined
    try {
      const inode = await this.#putInPlace(dir, dirAttr, current, options)
      await leaveChanged(sb, dir, { attr: dirAttr, timesKept, alone }, undefined)
      if (syncFd !== undefined) await fsync(syncFd)
      return inode
    } finally {
      if (syncFd !== undefined) closeLater(syncFd)
    }
  }

  /** Publishes with one rename. The replaced file lives on for its open handles and other names. */
  async #putInPlace(
    dir: OvlInode,
    dirAttr: Attr,
    current: OvlInode | undefined,
    options: PublishOptions,
  ): Promise<OvlInode> {
    if (current) return await current.nodeLock.exclusive(() => this.#replaceLocked(dir, current, options))
    const sb = this.#sb
    const owner = newOwner(this.#cred, dirAttr, FileType.regular, options.mode & 0o7777)
    const birth = inherit(sb, await loadRights(sb, dir), FileType.regular, owner)
    const workFd = await sb.descriptors.of(sb.work as Real)
    const present = statxFd(this.#fd)
    const rights = await applyOwnership(sb, workFd, this.#temp, FileType.regular, birth, present)
    const stat = await this.#numbered(present)
    return await adding(sb.charges, present.size, 'publish', () => this.#move(dir, options, rights, stat))
  }

  /** Replaces `current` and takes over its attributes, which cannot change meanwhile. */
  async #replaceLocked(dir: OvlInode, current: OvlInode, options: PublishOptions): Promise<OvlInode> {
    const sb = this.#sb
    const rights = await loadRightsLocked(sb, current)
    const now = await getattrLocked(sb, current)
    const workFd = await sb.descriptors.of(sb.work as Real)
    const stat = await this.#numbered(statxFd(this.#fd))
    await giveOwner(sb, workFd, this.#temp, now, stat)
    const bare = current.bareAt === current.changes
    const copied = bare ? 0 : await copyAttributes(sb, current, { fd: workFd, name: this.#temp, ino: stat.ino })
    const { uid, gid, rdevMajor, rdevMinor } = now
    const left = { uid, gid, rdevMajor, rdevMinor, mode: modeAfterWrite(this.#cred, now) }
    const unchanged = copied === 0 && stat.uid === uid && stat.gid === gid
    const { mode } = unchanged ? stat : statxFd(this.#fd)
    const owner = await giveMode(sb, workFd, this.#temp, FileType.regular, left, false, mode)
    const standing = current.upper !== undefined
    const move = (forget: () => void) => this.#move(dir, options, { ...rights, owner }, stat, { forget, standing })
    const inode = await removingName(sb, current, dir, options.name, move, this.sizeBytes)
    if (copied === 0 && owner === undefined) inode.bareAt = inode.changes
    return inode
  }

  /** Caches the attributes of the published file while its descriptor is open, because finding it by name takes longer. */
  #keepAttributes(inode: OvlInode, dir: Real): void {
    if (asksForAttributes(dir.layer)) return
    const stat = statxFd(this.#fd)
    // Blocks that xfs has reserved for further appends are released when the file is closed.
    if (stat.blocks * 512 <= stat.size + MOST_TAIL_BYTES) keepAttr(inode, stat)
  }

  /** Returns the attributes of the file with its stable inode number. */
  #numbered(stat: Stat): MaybePromise<Stat> {
    const work = this.#sb.work as Real
    return work.layer.inodeNumbers?.withStableNumber(work, this.#temp, stat) ?? stat
  }

  /**
   * Gives the file its name and synchronously calls `forget` for the object that the name meant before. `stat` was read before the file has its name,
   * because afterwards nothing may fail; only the identity in it counts.
   */
  async #move(
    dir: OvlInode,
    { name, mtime }: PublishOptions,
    rights: Rights,
    stat: Stat,
    replaced?: { readonly forget: () => void; readonly standing: boolean },
  ): Promise<OvlInode> {
    const sb = this.#sb
    const workFd = await sb.descriptors.of(sb.work as Real)
    if (mtime) await setTimes(sb, { fd: workFd, name: this.#temp }, { mtime })
    const upper = dir.upper as Real
    this.#owesWriting = await upper.layer.marks.replace(sb, this.#temp, upper, name, replaced?.standing ?? false)
    replaced?.forget()
    const inode = rememberUpper(sb, dir, name, { stat, fd: -1 }, rights)
    // In the same turn, so that no listing lacks a replaced name.
    sb.listings.insert(dir, name, inode)
    bestEffort(() => this.#keepAttributes(inode, upper))
    return inode
  }
}

/** Returns the number of copied bytes. */
async function copyAttributes(
  sb: SuperBlock,
  from: OvlInode,
  to: { readonly fd: number; readonly name: Name; readonly ino: number },
): Promise<number> {
  return await withPlaceFor(sb, from, (fd, name) => copyAttributesOf(sb, from, { fd, name }, to))
}

async function copyAttributesOf(
  sb: SuperBlock,
  from: OvlInode,
  { fd, name }: { readonly fd: number; readonly name: Name },
  to: { readonly fd: number; readonly name: Name; readonly ino: number },
): Promise<number> {
  let copied = 0
  for (const attr of await sb.xattrStore.list(fd, name)) {
    // Capabilities belong to the old content, so they are not kept.
    if (!sb.overlayXattrs.copiesUp(attr) || attr === 'security.capability') continue
    const value = await sb.xattrStore.get(fd, name, attr)
    if (value === undefined) continue
    copied++
    const slot = sb.overlayXattrs.slotOf(attr)
    if (slot === undefined || !isMarker(value)) await carryAttribute(sb, to, attr, value)
    else {
      const data = await sb.protocolData?.read(ownIno(from), slot, value)
      if (data) await putProtocolData(sb, to, slot, data)
    }
  }
  return copied
}

/** A descriptor of the upper directory for fsync; undefined if nothing must be made durable. */
async function openForSync(sb: SuperBlock, dir: OvlInode): Promise<number | undefined> {
  if (sb.options.volatile || !dir.upper) return undefined
  return await reopen(await sb.descriptors.of(dir.upper), O_RDONLY)
}
