import type { Alias, OvlInode } from './dentry.ts'
import { isErrno, OverlayError } from './errno.ts'
import { saveNlinkByLower } from './hardlink.ts'
import { Real } from './layer.ts'
import { setImpure } from './marks.ts'
import { encodeOrigin, writeOrigin } from './origin.ts'
import { NEVER_WAITS, openForReading } from './real-open.ts'
import type { SuperBlock } from './superblock.ts'
import { chmodAt, chownAt, truncateFd, utimesAt } from './sys/attr.ts'
import { copyFileRange, fsync, pread, pwrite, reflink, seekData, seekHole } from './sys/data.ts'
import { linkAt, mkdirAt, mknodAt, readlinkAt, renameAt, symlinkAt } from './sys/dir.ts'
import { O_CREAT, O_EXCL, O_RDWR, RENAME_NOREPLACE } from './sys/flags.ts'
import { closeLater, openAt } from './sys/open.ts'
import { type Stat, statxFd } from './sys/stat.ts'
import { getXattr, listXattr, removeXattr, setXattr } from './sys/xattr.ts'
import { FileType } from './types.ts'
import { removeTemp, removeTempDir } from './whiteout.ts'

/** What an operation needs of an object: only its attributes and name changeable (metacopy=on leaves the data below), or its data too. */
export type CopyNeed = 'metadata' | 'data'

/** How much one call copies: small enough that a pool thread is soon free for others. */
const COPY_CHUNK_BYTES = 8 * 1024 * 1024

/**
 * Makes `inode` writable: afterwards its upper object exists with the lower's type, owner, mode, times, xattrs and data.
 *
 * Parents are copied up first, outermost first. The object is built in the work directory and published by one rename, so a crash
 * leaves the old view or the new one, plus at most a leftover that mount removes. Concurrent calls share one copy.
 *
 * @throws EROFS the overlay has no upper · ESTALE no name is left · ENOSPC | EDQUOT | EIO from the upper; the view is unchanged
 * @see fs/overlayfs/copy_up.c for the order of steps
 */
export function copyUp(sb: SuperBlock, inode: OvlInode, need: CopyNeed = 'data'): Promise<void> | undefined {
  const wantsData = need === 'data' && inode.metacopy
  if (inode.upper && !wantsData) return undefined
  if (!sb.upper) throw new OverlayError('EROFS', 'copy-up')
  if (inode.copying) return inode.copying.then(() => copyUp(sb, inode, need))
  inode.copying = (inode.upper ? completeData(sb, inode) : copyUpOnce(sb, inode, need)).finally(() => {
    inode.copying = undefined
  })
  return inode.copying
}

/** Makes an upper name for this alias of a hard link that was copied up through another name (ovl_link_up). */
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

/** Links the upper object to a name that so far only the lower had. */
async function linkUp(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: string): Promise<void> {
  const upper = inode.upper as Real
  await keepingTimes(sb, dir, async (dirFd) => {
    await linkAt(await sb.descriptors.of(upper.parent as Real), upper.name, dirFd, name)
    if (inode.nlinkDelta !== undefined) inode.nlinkDelta--
    inode.changed()
  })
}

async function copyUpOnce(sb: SuperBlock, inode: OvlInode, need: CopyNeed): Promise<void> {
  const alias = inode.aliases[0]
  if (!alias) throw new OverlayError('ESTALE', 'copy-up')
  await copyUp(sb, alias.dir)
  await inode.nodeLock.exclusive(() => copyUpLocked(sb, inode, need))
}

async function copyUpLocked(sb: SuperBlock, inode: OvlInode, need: CopyNeed): Promise<void> {
  const alias = inode.aliases[0]
  if (inode.upper) return
  if (!alias) throw new OverlayError('ESTALE', 'copy-up')
  const lower = inode.lowers[0] as Real
  const temp = sb.tempName()
  const indexed = inode.indexName !== undefined && sb.indexDir !== undefined
  const origin = await encodeOrigin(sb, lower)
  const data = need === 'metadata' && sb.options.metacopy ? undefined : (inode.dataReal ?? lower)
  const built = await buildTemp(sb, { lower, data, temp, origin })
  const parent = alias.dir.upper as Real
  try {
    if (indexed) await publishInIndex(sb, inode, temp)
    else await publish(sb, temp, alias)
  } catch (error) {
    if (inode.type === FileType.directory) await removeTempDir(sb, temp)
    else await removeTemp(sb, temp)
    throw error
  }
  inode.upper = indexed
    ? new Real(parent.layer, sb.indexDir as Real, inode.indexName as string, built.stat.ino)
    : new Real(parent.layer, parent, alias.name, built.stat.ino)
  inode.dataReal = built.metacopy ? (inode.dataReal ?? lower) : undefined
  inode.metacopy = built.metacopy
  inode.hasOrigin = true
  sb.files.retarget(inode)
  inode.changed()
  if (indexed) await linkUp(sb, inode, alias.dir, alias.name)
}

/** Moves the finished object to its place; the parent keeps its times, as nothing changed for those who look. */
async function publish(sb: SuperBlock, temp: string, at: Alias): Promise<void> {
  await keepingTimes(sb, at.dir, async (parentFd) => {
    await renameAt(await sb.descriptors.of(sb.work as Real), temp, parentFd, at.name, RENAME_NOREPLACE)
  })
}

/**
 * For a hard link: the object goes to the index under its origin's name; from there all of its names find it. As long as it has no
 * upper name its link count is the lower's.
 */
async function publishInIndex(sb: SuperBlock, inode: OvlInode, temp: string): Promise<void> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  const indexFd = await sb.descriptors.of(sb.indexDir as Real)
  await saveNlinkByLower(sb, workFd, temp, 0)
  await renameAt(workFd, temp, indexFd, inode.indexName as string, RENAME_NOREPLACE)
  inode.nlinkDelta = inode.lowerNlink - 1
}

/**
 * Runs `change` in the upper of `dir` and puts the directory's times back, unless somebody else changes the directory meanwhile: that
 * change keeps a new time.
 */
async function keepingTimes(sb: SuperBlock, dir: OvlInode, change: (dirFd: number) => Promise<void>): Promise<void> {
  const upper = dir.upper as Real
  await setImpure(sb, upper)
  const fd = await sb.descriptors.of(upper)
  const { changes } = dir
  const times = statxFd(fd)
  await change(fd)
  if (dir.changes !== changes) return
  await utimesAt(fd, '', times.atime, times.mtime)
  if (dir.changes !== changes) await utimesAt(fd, '', undefined, 'now')
}

async function lowerStat(sb: SuperBlock, lower: Real): Promise<Stat> {
  const probe = lower.parent && (await sb.descriptors.probe(lower.parent, lower.name))
  if (!probe) throw new OverlayError('ESTALE', 'copy-up', lower.name)
  if (probe.fd >= 0) sb.descriptors.adopt(lower, probe.fd)
  return probe.stat
}

/** A copy to be made under the name `temp` in the work directory. */
interface Build {
  readonly lower: Real
  /** Where the data is; undefined to leave it there. */
  readonly data: Real | undefined
  readonly temp: string
  readonly origin: Uint8Array | undefined
}

/** Builds the copy and returns its attributes, and whether its data was left below. */
async function buildTemp(sb: SuperBlock, build: Build): Promise<{ stat: Stat; metacopy: boolean }> {
  const { lower, temp } = build
  const stat = await lowerStat(sb, lower)
  const metacopy = stat.type === FileType.regular && stat.size > 0 && build.data === undefined
  const workFd = await sb.descriptors.of(sb.work as Real)
  try {
    await makeSame(sb, lower, stat, build.data ?? lower, metacopy, temp)
    await copyXattrs(sb, lower, workFd, temp)
    if (sb.privileged) await chownAt(workFd, temp, stat.uid, stat.gid)
    if (stat.type !== FileType.symlink) await chmodAt(workFd, temp, stat.mode)
    await writeOrigin(sb, workFd, temp, build.origin)
    if (metacopy) await setXattr(workFd, temp, sb.xattrs.metacopy, new Uint8Array(0))
    await utimesAt(workFd, temp, stat.atime, stat.mtime)
    const probe = await sb.descriptors.probe(sb.work as Real, temp)
    if (!probe) throw new OverlayError('EIO', 'copy-up')
    if (probe.fd >= 0) sb.descriptors.retire(probe.fd)
    return { stat: probe.stat, metacopy }
  } catch (error) {
    if (stat.type === FileType.directory) await removeTempDir(sb, temp)
    else await removeTemp(sb, temp)
    throw error
  }
}

async function makeSame(
  sb: SuperBlock,
  lower: Real,
  stat: Stat,
  data: Real,
  metacopy: boolean,
  temp: string,
): Promise<void> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  switch (stat.type) {
    case FileType.directory:
      return await mkdirAt(workFd, temp, 0o700)
    case FileType.symlink:
      return await symlinkAt(await readlinkAt(await sb.descriptors.of(lower.parent as Real), lower.name), workFd, temp)
    case FileType.regular:
      return await copyRegular(sb, metacopy ? undefined : data, stat.size, temp)
    default:
      return await mknodAt(workFd, temp, stat.type | 0o600, stat.rdevMajor, stat.rdevMinor)
  }
}

/** Makes the regular file: with the data of `data`, or only as long as that (metacopy). */
async function copyRegular(sb: SuperBlock, data: Real | undefined, sizeBytes: number, temp: string): Promise<void> {
  const to = await openAt(await sb.descriptors.of(sb.work as Real), temp, O_RDWR | O_CREAT | O_EXCL, 0o600)
  try {
    if (data) await fillFrom(sb, data, to, sizeBytes)
    else await truncateFd(to, sizeBytes)
  } finally {
    closeLater(to)
  }
}

async function fillFrom(sb: SuperBlock, data: Real, to: number, sizeBytes: number): Promise<void> {
  const from = await openForReading(await sb.descriptors.of(data.parent as Real), data.name)
  try {
    await copyData(from, to, sizeBytes)
    if (!sb.options.volatile && sizeBytes > 0) await fsync(to)
  } finally {
    closeLater(from)
  }
}

/** Brings the data up into a metadata-only copy; until the mark is removed a crash leaves the old state (ovl_copy_up_meta_inode_data). */
async function completeData(sb: SuperBlock, inode: OvlInode): Promise<void> {
  await inode.nodeLock.exclusive(async () => {
    const upper = inode.upper as Real
    if (!inode.metacopy || !inode.dataReal) return
    const dirFd = await sb.descriptors.of(upper.parent as Real)
    const before = await lowerStat(sb, upper)
    const capability = await getXattr(dirFd, upper.name, 'security.capability')
    const to = await openAt(dirFd, upper.name, O_RDWR | NEVER_WAITS)
    try {
      await fillFrom(sb, inode.dataReal, to, before.size)
    } finally {
      closeLater(to)
    }
    // Writing has taken the capability away, but this is no change for those who look.
    if (capability) await setXattr(dirFd, upper.name, 'security.capability', capability)
    await utimesAt(dirFd, upper.name, before.atime, before.mtime)
    await removeXattr(dirFd, upper.name, sb.xattrs.metacopy)
    inode.metacopy = false
    inode.dataReal = undefined
    sb.files.drop(inode)
    inode.changed()
  })
}

/** Copies `sizeBytes` of data: shared blocks where possible, else in the kernel, else by chunks; holes stay holes. */
async function copyData(from: number, to: number, sizeBytes: number): Promise<void> {
  if (sizeBytes === 0) return
  if (await reflink(to, from)) return
  await truncateFd(to, sizeBytes)
  let position = 0
  while (position < sizeBytes) {
    const start = await seekData(from, position)
    if (start < 0) return
    const hole = await seekHole(from, start)
    const end = hole < 0 ? sizeBytes : Math.min(hole, sizeBytes)
    await copyExtent(from, to, start, end)
    position = Math.max(end, start + 1)
  }
}

async function copyExtent(from: number, to: number, start: number, end: number): Promise<void> {
  let position = start
  while (position < end) {
    const length = Math.min(COPY_CHUNK_BYTES, end - position)
    const copied = await copyChunk(from, to, position, length)
    // The lower became shorter underneath: what is missing reads as zeros.
    if (copied === 0) return
    position += copied
  }
}

async function copyChunk(from: number, to: number, position: number, length: number): Promise<number> {
  try {
    const copied = await copyFileRange(from, position, to, position, length)
    if (copied > 0) return copied
  } catch (error) {
    if (!isErrno(error, 'EXDEV', 'EINVAL', 'EOPNOTSUPP', 'ENOSYS')) throw error
  }
  const buffer = Buffer.allocUnsafe(Math.min(length, 1024 * 1024))
  const read = await pread(from, buffer, 0, buffer.length, position)
  if (read > 0) await pwrite(to, buffer.subarray(0, read), position)
  return read
}

/** Copies extended attributes, ACLs included; those private to an overlay stay behind (ovl_copy_xattr). */
async function copyXattrs(sb: SuperBlock, lower: Real, workFd: number, temp: string): Promise<void> {
  const parentFd = await sb.descriptors.of(lower.parent as Real)
  for (const name of await listXattr(parentFd, lower.name)) {
    if (!sb.xattrs.copiesUp(name)) continue
    const value = await getXattr(parentFd, lower.name, name)
    if (!value) continue
    try {
      await setXattr(workFd, temp, name, value)
    } catch (error) {
      // Rights must not get lost; anything else goes as far as the upper can hold it.
      if (name.startsWith('system.posix_acl_') || !isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error
    }
  }
}
