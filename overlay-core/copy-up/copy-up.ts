import { countedCopyUp } from '../api/activity.ts'
import { isErrno, OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import { FileType, type MaybePromise } from '../api/types.ts'
import { asCopy, copyAwaited } from '../base/lock.ts'
import { encodeIdentity, encodeLowerIdentity } from '../layer/identity.ts'
import { Real } from '../layer/layer.ts'
import { PLAIN } from '../layer/object-rights.ts'
import type { NodeOwnership, OverrideStat } from '../layer/override-stat.ts'
import { provenPlace } from '../layer/proven-place.ts'
import { NEVER_WAITS, openForReading } from '../layer/real-open.ts'
import { storageOf } from '../layer/upper-context.ts'
import { removeTemp, removeTempDir } from '../layer/whiteout.ts'
import { createIndex, isHardLink, saveNlinkByLower, separatesLinks } from '../lookup/hardlink.ts'
import { type IdentityMark, identityMarks, writeIdentityMark } from '../lookup/origin.ts'
import type { Alias, OvlInode } from '../objects/dentry.ts'
import { loadRights, setRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { truncateFd, utimesAt } from '../sys/attr.ts'
import { fsync } from '../sys/data.ts'
import { linkFd, mkdirAt, mknodAt, readlinkAt, renameAt, symlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { closeLater, openAt, reopen } from '../sys/open.ts'
import { type Stat, statxFdAsking } from '../sys/stat.ts'
import { getXattr, setXattr } from '../sys/xattr.ts'
import { copyXattrs } from './copy-attributes.ts'
import { chargingCopy } from './copy-charge.ts'
import { copyData, needWanted, syncsCopy } from './copy-data.ts'
import { copyFileUp } from './copy-file.ts'
import { installCopy, keepingTimes, needAlias } from './copy-publish.ts'
import { giveMode, giveOwner, needsStub } from './owner.ts'

/** What an operation needs to change: only attributes and name (metacopy=on leaves the data in the lower), the data too, or an open file. `removal` is like `metadata`, but no quota refuses it. */
export type CopyNeed = 'metadata' | 'removal' | 'data' | 'open'

/** Copies up to this size may be awaited under locks, because they take less than a millisecond. */
const SHORT_COPY_BYTES = 1024 * 1024
/** How often an operation releases its locks to copy up. */
const MOST_COPIES_FIRST = 3

/**
 * Makes `inode` writable: afterwards it has an upper object with the lower's type, owner, mode, times, xattrs and data.
 *
 * Parents are copied up first, outermost first. The object is built in the work directory and published by one rename, so a crash
 * leaves the old or the new state, plus at most a leftover that the next mount removes. Concurrent calls share one copy.
 * To be called inside `descriptors.run`.
 *
 * @throws EROFS the overlay has no upper · ESTALE no name is left · ENOSPC | EDQUOT | EIO from the upper, and nothing visible has changed
 * @see fs/overlayfs/copy_up.c for the order of steps
 */
export function copyUp(sb: SuperBlock, inode: OvlInode, need: CopyNeed = 'data'): Promise<void> | undefined {
  const wantsData = needsData(need) && inode.metacopy
  if (inode.upper && !wantsData) return undefined
  if (sb.readOnly) throw new OverlayError('EROFS', 'copy-up')
  copyAwaited(inode)
  const again = () => copyUp(sb, inode, need)
  // A quota may have refused a copy-up for another operation.
  const { copying: other } = inode
  if (other) return sb.descriptors.resting(() => other).then(again, need === 'removal' ? again : undefined)
  const copyOnce = () => chargingCopy(sb, inode, need === 'removal', () => copyUpOnce(sb, inode, need))
  const copy = () => (inode.upper ? completeData(sb, inode) : copyOnce())
  const copying: Promise<void> = countedCopyUp(asCopy(inode, copy)).finally(() => {
    inode.copying = undefined
    sb.copies.delete(copying)
  })
  inode.copying = copying
  sb.copies.add(copying)
  return copying
}

function needsData(need: CopyNeed): boolean {
  return need === 'data' || need === 'open'
}

/** Copies up the parent directory for a copy-up for `need`. */
function copyUpDir(sb: SuperBlock, dir: OvlInode, need: CopyNeed): Promise<void> | undefined {
  return copyUp(sb, dir, need === 'removal' ? need : 'data')
}

/** A copy-up that an operation found necessary while it held locks, to be done without them and without descriptors. */
export class LongCopy {
  readonly inode: OvlInode
  readonly need: CopyNeed

  constructor(inode: OvlInode, need: CopyNeed) {
    this.inode = inode
    this.need = need
  }
}

/** The copy-up that an operation under the lock of a directory needs, if it could block that directory for long. */
export function longCopyOf(
  sb: SuperBlock,
  inode: OvlInode | undefined,
  need: CopyNeed = 'metadata',
): LongCopy | undefined {
  if (!inode || inode.upper || inode.type !== FileType.regular || !sb.upper || sb.options.metacopy) return undefined
  const short = inode.copying === undefined && inode.attr !== undefined && inode.attr.size <= SHORT_COPY_BYTES
  return short ? undefined : new LongCopy(inode, need)
}

/**
 * The copy-up of a file that is open for writing, while a freeze has made it a lower, for an operation that may remove its last name: after that, it
 * could not be copied up any more.
 */
export function copyForWriters(inode: OvlInode | undefined): LongCopy | undefined {
  if (!inode || inode.upper || inode.lowerHandles === undefined) return undefined
  for (const { writes } of inode.lowerHandles) if (writes) return new LongCopy(inode, 'open')
  return undefined
}

/**
 * Runs `work`, which takes locks and uses descriptors inside `descriptors.run`, and runs it again after the copy-up that it requests. If objects keep
 * changing, `work` is finally told to be `patient` and to copy up under its locks.
 */
export function copyingUpFirst<T>(
  sb: SuperBlock,
  work: (patient: boolean) => MaybePromise<T | LongCopy>,
  attempt = 0,
): MaybePromise<T> {
  return after(work(attempt === MOST_COPIES_FIRST), (result) => {
    if (!(result instanceof LongCopy)) return result
    return copyUpFor(sb, result).then(() => copyingUpFirst(sb, work, attempt + 1))
  })
}

async function copyUpFor(sb: SuperBlock, { inode, need }: LongCopy): Promise<void> {
  try {
    await sb.descriptors.run(() => copyUp(sb, inode, need))
  } catch (error) {
    // The object was removed meanwhile. The operation finds out what has the name now.
    if (!isErrno(error, 'ESTALE')) throw error
  }
}

/** Creates an upper name for this alias of a hard link that was copied up through another name (ovl_link_up). */
export async function linkUpAlias(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: string): Promise<void> {
  await copyUp(sb, dir)
  const dirReal = dir.upper as Real
  if (await sb.descriptors.probe(dirReal, name)) return
  const upper = inode.upper as Real
  if (inode.nlinkDelta !== undefined) {
    const indexFd = await sb.descriptors.of(sb.indexDir as Real)
    const { nlink } = await lowerStat(sb, upper)
    await saveNlinkByLower(sb, indexFd, inode.indexName as string, nlink + inode.nlinkDelta - inode.lowerNlink)
  }
  await linkUp(sb, inode, dir, name)
}

/** Links the upper object to a name that existed only in the lower. */
async function linkUp(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: string): Promise<void> {
  const upper = inode.upper as Real
  await keepingTimes(sb, dir, async (dirFd) => {
    const from = { dir: upper.parent as Real, name: upper.name }
    const to = { dir: dir.upper as Real, name }
    const sourceFd = await sb.descriptors.proven(upper)
    await sb.xattrStore.linking(from, to, () => linkFd(sourceFd, dirFd, name))
    if (inode.nlinkDelta !== undefined) inode.nlinkDelta--
    inode.changed()
  })
}

/**
 * Builds the copy without a lock, because a lower does not change and changes of the object wait for the copy. So no copy, however long, keeps
 * the name from being looked up, removed or replaced. The copy counts only once it is published under the lock.
 */
async function copyUpOnce(sb: SuperBlock, inode: OvlInode, need: CopyNeed): Promise<void> {
  await copyUpDir(sb, needAlias(inode).dir, need)
  const leavesData = !needsData(need) && sb.options.metacopy
  if (!leavesData && (await copyFileUp(sb, inode, need === 'open', (dir) => copyUpDir(sb, dir, need)))) return
  const lower = inode.lower as Real
  const temp = sb.tempName()
  const stat = await lowerStat(sb, lower)
  const separate = isHardLink(stat) && separatesLinks(sb, lower.layer)
  const marks = separate
    ? [{ name: sb.overlayXattrs.identity, value: identityOfSeparated(inode, stat) }]
    : await identityMarks(sb, inode, lower, stat)
  const data = leavesData ? undefined : (inode.dataReal ?? lower)
  const owner = sb.keepsOwners ? (await loadRights(sb, inode)).owner : undefined
  const built = await buildTemp(sb, { inode, lower, stat, data, temp, marks, owner })
  try {
    while (!(await inode.nodeLock.exclusive(() => publishLocked(sb, inode, temp, built)))) {
      await copyUpDir(sb, needAlias(inode).dir, need)
    }
  } catch (error) {
    if (inode.type === FileType.directory) await removeTempDir(sb, temp)
    else await removeTemp(sb, temp)
    throw error
  }
}

/** What is kept of the identity of a name that is separated from its hard links. A copy of a copy may have the identity of a lower object. */
function identityOfSeparated(inode: OvlInode, { nlink }: Stat): Uint8Array {
  return inode.lower?.layer.frozen ? encodeLowerIdentity(inode, nlink) : encodeIdentity(inode)
}

/** Gives the finished copy its name; false if only another name of a hard link is left, whose directory must be copied up first. */
async function publishLocked(sb: SuperBlock, inode: OvlInode, temp: string, built: Built): Promise<boolean> {
  const alias = needAlias(inode)
  const parent = alias.dir.upper
  if (!parent) return false
  const lower = inode.lower as Real
  const indexed = inode.indexName !== undefined && sb.indexDir !== undefined
  if (indexed) await publishInIndex(sb, inode, temp)
  else await publish(sb, temp, alias)
  inode.dataReal = built.metacopy ? (inode.dataReal ?? lower) : undefined
  inode.metacopy = built.metacopy
  if (sb.keepsOwners) setRights(inode, { ...(inode.rights ?? PLAIN), owner: built.record })
  const place = indexed
    ? new Real(parent.layer, sb.indexDir as Real, inode.indexName as string, built.stat.ino)
    : undefined
  installCopy(sb, inode, place ?? new Real(parent.layer, parent, alias.name, built.stat.ino))
  if (indexed) await linkUp(sb, inode, alias.dir, alias.name)
  return true
}

/** Moves the finished object to its name; the parent keeps its times, because nothing visible changed. */
async function publish(sb: SuperBlock, temp: string, at: Alias): Promise<void> {
  const parent = at.dir.upper as Real
  await keepingTimes(sb, at.dir, () => parent.layer.marks.publish(sb, temp, parent, at.name, false, undefined))
}

/**
 * Publishes the copy of a hard link in the index under the name of its origin, where all of its names find it. As long as it has no
 * name in the upper, its link count is that of the lower.
 */
async function publishInIndex(sb: SuperBlock, inode: OvlInode, temp: string): Promise<void> {
  await createIndex(sb)
  const workFd = await sb.descriptors.of(sb.work as Real)
  const indexFd = await sb.descriptors.of(sb.indexDir as Real)
  // A lower that was in the index of an upper before that was frozen is counted differently from its disk.
  const difference = inode.nlinkDelta ?? 0
  await saveNlinkByLower(sb, workFd, temp, difference)
  const name = inode.indexName as string
  const [from, to] = [
    { dir: sb.work as Real, name: temp },
    { dir: sb.indexDir as Real, name },
  ]
  await sb.xattrStore.moving(from, to, () => renameAt(workFd, temp, indexFd, name, storageOf(sb).noReplace))
  inode.nlinkDelta = inode.lowerNlink + difference - 1
}

async function lowerStat(sb: SuperBlock, lower: Real): Promise<Stat> {
  const probe = lower.parent && (await sb.descriptors.probe(lower.parent, lower.name))
  if (!probe) throw new OverlayError('ESTALE', 'copy-up', lower.name)
  if (probe.fd >= 0) sb.descriptors.adopt(lower, probe.fd)
  return probe.stat
}

/** A copy to be made under the name `temp` in the work directory. */
interface Build {
  /** The object to copy. If its last name is removed, the copy is aborted. */
  readonly inode: OvlInode
  readonly lower: Real
  readonly stat: Stat
  /** The source of the data; undefined to leave it in the lower. */
  readonly data: Real | undefined
  readonly temp: string
  /** Its identity: the origin, or the identity of a name that is separated from the other hard links. */
  readonly marks: readonly IdentityMark[]
  /** Owner and mode, if not those on the lower's disk. */
  readonly owner: NodeOwnership | undefined
}

/** A finished copy. */
interface Built {
  readonly stat: Stat
  /** Whether the data was left in the lower. */
  readonly metacopy: boolean
  /** The recorded owner and mode, if the disk cannot store them. */
  readonly record: OverrideStat | undefined
}

/** Builds the copy. Sets the owner before the extended attributes, because a change of owner drops capabilities. */
async function buildTemp(sb: SuperBlock, build: Build): Promise<Built> {
  const { lower, stat, temp } = build
  const metacopy = stat.type === FileType.regular && build.data === undefined
  const workFd = await sb.descriptors.of(sb.work as Real)
  try {
    const owner = build.owner ?? stat
    const { type } = build.inode
    const stub = type !== stat.type || needsStub(sb, type, owner)
    await makeSame(sb, build, stat, metacopy, stub)
    await giveOwner(sb, workFd, temp, owner)
    await copyXattrs(sb, lower, workFd, temp)
    const record = await giveMode(sb, workFd, temp, type, owner, stub)
    for (const mark of build.marks) await writeIdentityMark(sb, workFd, temp, mark)
    if (metacopy) await sb.xattrStore.set(workFd, temp, sb.overlayXattrs.metacopy, new Uint8Array(0))
    await utimesAt(workFd, temp, stat.atime, stat.mtime)
    const probe = await sb.descriptors.probe(sb.work as Real, temp)
    if (!probe) throw new OverlayError('EIO', 'copy-up')
    if (probe.fd >= 0) sb.descriptors.retire(probe.fd)
    if (sb.options.fsync === 'strict') await syncBuilt(workFd, temp, probe.stat.type)
    return { stat: probe.stat, metacopy, record }
  } catch (error) {
    if (stat.type === FileType.directory) await removeTempDir(sb, temp)
    else await removeTemp(sb, temp)
    throw error
  }
}

/** Makes a finished copy and its attributes durable before it gets its name. Other types cannot be synced individually. */
async function syncBuilt(workFd: number, temp: string, type: FileType): Promise<void> {
  if (type !== FileType.regular && type !== FileType.directory) return
  const fd = await openAt(workFd, temp, O_RDONLY | (type === FileType.directory ? O_DIRECTORY : NEVER_WAITS))
  try {
    await fsync(fd)
  } finally {
    closeLater(fd)
  }
}

async function syncObject(object: number): Promise<void> {
  const fd = await reopen(object, O_RDONLY | O_NONBLOCK)
  try {
    await fsync(fd)
  } finally {
    closeLater(fd)
  }
}

async function makeSame(
  sb: SuperBlock,
  { inode, lower, data, temp }: Build,
  stat: Stat,
  metacopy: boolean,
  stub: boolean,
): Promise<void> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  if (stub) return await mknodAt(workFd, temp, FileType.regular | 0o600, 0, 0)
  switch (stat.type) {
    case FileType.directory:
      return await mkdirAt(workFd, temp, 0o700)
    case FileType.symlink:
      return await symlinkAt(await readlinkAt(await sb.descriptors.of(lower.parent as Real), lower.name), workFd, temp)
    case FileType.regular:
      return await copyRegular(sb, inode, metacopy ? undefined : (data ?? lower), stat.size, temp)
    default:
      return await mknodAt(workFd, temp, stat.type | 0o600, stat.rdevMajor, stat.rdevMinor)
  }
}

/** Creates the regular file, with the data of `data` or only with its size (metacopy). */
async function copyRegular(
  sb: SuperBlock,
  inode: OvlInode,
  data: Real | undefined,
  sizeBytes: number,
  temp: string,
): Promise<void> {
  const to = await openAt(await sb.descriptors.of(sb.work as Real), temp, O_RDWR | O_CREAT | O_EXCL, 0o600)
  try {
    if (data) await fillFrom(sb, inode, data, to, sizeBytes)
    else await truncateFd(to, sizeBytes)
  } finally {
    closeLater(to)
  }
}

async function fillFrom(sb: SuperBlock, inode: OvlInode, data: Real, to: number, sizeBytes: number): Promise<void> {
  const from = await openForReading(await sb.descriptors.of(data.parent as Real), data.name)
  try {
    const toDisk = !sb.options.volatile
    await sb.descriptors.resting(async () => {
      const shared = await copyData(from, to, sizeBytes, toDisk, () => needWanted(inode))
      // With fsync=strict the file is synced later, together with its attributes.
      if (sb.options.fsync !== 'strict' && syncsCopy(sb, sizeBytes, shared)) await fsync(to)
    })
  } finally {
    closeLater(from)
  }
}

/** Copies the data into a metadata-only copy. Until the mark is removed, a crash leaves the old state (ovl_copy_up_meta_inode_data). */
async function completeData(sb: SuperBlock, inode: OvlInode): Promise<void> {
  await inode.nodeLock.exclusive(async () => {
    if (!inode.metacopy || !inode.dataReal) return
    const { fd, name } = await provenPlace(sb, inode.upper as Real)
    const object = await sb.descriptors.proven(inode.upper as Real)
    const before = await statxFdAsking(object)
    const capability = await getXattr(object, '', 'security.capability')
    const to = await reopen(object, O_RDWR | O_NONBLOCK)
    try {
      await fillFrom(sb, inode, inode.dataReal, to, before.size)
    } finally {
      closeLater(to)
    }
    // Writing has dropped the capability, but this is not a visible change, so restore it.
    if (capability) await setXattr(object, '', 'security.capability', capability)
    await utimesAt(object, '', before.atime, before.mtime)
    if (sb.options.fsync === 'strict') await syncObject(object)
    await sb.xattrStore.remove(fd, name, sb.overlayXattrs.metacopy)
    inode.metacopy = false
    inode.dataReal = undefined
    sb.files.drop(inode)
    inode.changed()
  })
}
