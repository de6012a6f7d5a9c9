import type { OvlInode } from './dentry.ts'
import { isErrno, OverlayError } from './errno.ts'
import { saveNlink } from './hardlink.ts'
import { Real } from './layer.ts'
import { setImpure } from './marks.ts'
import { encodeOrigin, writeOrigin } from './origin.ts'
import { openForReading } from './real-open.ts'
import type { SuperBlock } from './superblock.ts'
import { chmodAt, chownAt, truncateFd, utimesAt } from './sys/attr.ts'
import { copyFileRange, fsync, pread, pwrite, reflink, seekData, seekHole } from './sys/data.ts'
import { linkAt, mkdirAt, mknodAt, readlinkAt, renameAt, symlinkAt } from './sys/dir.ts'
import { O_CREAT, O_EXCL, O_RDWR, RENAME_NOREPLACE } from './sys/flags.ts'
import { closeLater, openAt } from './sys/open.ts'
import { type Stat, statxFd } from './sys/stat.ts'
import { getXattr, listXattr, setXattr } from './sys/xattr.ts'
import { FileType } from './types.ts'
import { removeTemp, removeTempDir } from './whiteout.ts'

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
export function copyUp(sb: SuperBlock, inode: OvlInode): Promise<void> | undefined {
  if (inode.upper) return undefined
  if (!sb.upper) throw new OverlayError('EROFS', 'copy-up')
  inode.copying ??= copyUpOnce(sb, inode).finally(() => {
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
  await saveNlink(sb, inode)
  const times = statxFd(await sb.descriptors.of(dirReal))
  await linkAt(await sb.descriptors.of(upper.parent as Real), upper.name, await sb.descriptors.of(dirReal), name)
  if (inode.nlinkDelta !== undefined) inode.nlinkDelta--
  await restoreTimes(sb, dirReal, times)
}

async function copyUpOnce(sb: SuperBlock, inode: OvlInode): Promise<void> {
  const alias = inode.aliases[0]
  if (!alias) throw new OverlayError('ESTALE', 'copy-up')
  await copyUp(sb, alias.dir)
  await inode.nodeLock.exclusive(() => copyUpLocked(sb, inode))
}

async function copyUpLocked(sb: SuperBlock, inode: OvlInode): Promise<void> {
  const alias = inode.aliases[0]
  if (inode.upper) return
  if (!alias) throw new OverlayError('ESTALE', 'copy-up')
  const lower = inode.lowers[0] as Real
  const parent = alias.dir.upper as Real
  const temp = sb.tempName()
  const indexed = inode.indexName !== undefined && sb.indexDir !== undefined
  const origin = await encodeOrigin(sb, lower)
  const stat = await buildTemp(sb, lower, temp, origin)
  try {
    if (indexed) await publishIndexed(sb, inode, temp, parent, alias.name)
    else await publish(sb, temp, parent, alias.name)
  } catch (error) {
    if (inode.type === FileType.directory) await removeTempDir(sb, temp)
    else await removeTemp(sb, temp)
    throw error
  }
  inode.upper = indexed
    ? new Real(parent.layer, sb.indexDir as Real, inode.indexName as string, stat.ino)
    : new Real(parent.layer, parent, alias.name, stat.ino)
  inode.hasOrigin = true
  sb.files.retarget(inode)
  inode.changed()
}

/** Moves the finished object to its place; the parent keeps its times, as nothing changed for those who look. */
async function publish(sb: SuperBlock, temp: string, parent: Real, name: string): Promise<void> {
  const parentFd = await sb.descriptors.of(parent)
  const times = statxFd(parentFd)
  await setImpure(sb, parent)
  await renameAt(await sb.descriptors.of(sb.work as Real), temp, parentFd, name, RENAME_NOREPLACE)
  await restoreTimes(sb, parent, times)
}

/** For a hard link: the object goes to the index under its origin's name, then gets the name that was asked for. */
async function publishIndexed(
  sb: SuperBlock,
  inode: OvlInode,
  temp: string,
  parent: Real,
  name: string,
): Promise<void> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  const indexFd = await sb.descriptors.of(sb.indexDir as Real)
  const indexName = inode.indexName as string
  const lowerNlink = (await lowerStat(sb, inode.lowers[0] as Real)).nlink
  const parentFd = await sb.descriptors.of(parent)
  const times = statxFd(parentFd)
  await setImpure(sb, parent)
  // Two upper links (index and name) will stand for `lowerNlink` names.
  inode.nlinkDelta = lowerNlink - 2
  const sign = inode.nlinkDelta < 0 ? '' : '+'
  await setXattr(workFd, temp, sb.xattrs.nlink, Buffer.from(`U${sign}${inode.nlinkDelta}`))
  await renameAt(workFd, temp, indexFd, indexName, RENAME_NOREPLACE)
  await linkAt(indexFd, indexName, parentFd, name)
  await restoreTimes(sb, parent, times)
}

async function restoreTimes(sb: SuperBlock, dir: Real, times: Stat): Promise<void> {
  await utimesAt(await sb.descriptors.of(dir), '', times.atime, times.mtime)
}

async function lowerStat(sb: SuperBlock, lower: Real): Promise<Stat> {
  const probe = lower.parent && (await sb.descriptors.probe(lower.parent, lower.name))
  if (!probe) throw new OverlayError('ESTALE', 'copy-up', lower.name)
  if (probe.fd >= 0) sb.descriptors.adopt(lower, probe.fd)
  return probe.stat
}

/** Builds the copy of `lower` under the name `temp` in the work directory and returns the copy's attributes. */
async function buildTemp(sb: SuperBlock, lower: Real, temp: string, origin: Uint8Array | undefined): Promise<Stat> {
  const stat = await lowerStat(sb, lower)
  const workFd = await sb.descriptors.of(sb.work as Real)
  try {
    await makeSame(sb, lower, stat, workFd, temp)
    await copyXattrs(sb, lower, workFd, temp)
    if (sb.privileged) await chownAt(workFd, temp, stat.uid, stat.gid)
    if (stat.type !== FileType.symlink) await chmodAt(workFd, temp, stat.mode)
    await writeOrigin(sb, workFd, temp, origin)
    await utimesAt(workFd, temp, stat.atime, stat.mtime)
    const probe = await sb.descriptors.probe(sb.work as Real, temp)
    if (!probe) throw new OverlayError('EIO', 'copy-up')
    if (probe.fd >= 0) sb.descriptors.retire(probe.fd)
    return probe.stat
  } catch (error) {
    if (stat.type === FileType.directory) await removeTempDir(sb, temp)
    else await removeTemp(sb, temp)
    throw error
  }
}

async function makeSame(sb: SuperBlock, lower: Real, stat: Stat, workFd: number, temp: string): Promise<void> {
  const parentFd = await sb.descriptors.of(lower.parent as Real)
  switch (stat.type) {
    case FileType.directory:
      return await mkdirAt(workFd, temp, 0o700)
    case FileType.symlink:
      return await symlinkAt(await readlinkAt(parentFd, lower.name), workFd, temp)
    case FileType.regular:
      return await copyRegular(sb, lower, stat, workFd, temp)
    default:
      return await mknodAt(workFd, temp, stat.type | 0o600, stat.rdevMajor, stat.rdevMinor)
  }
}

async function copyRegular(sb: SuperBlock, lower: Real, stat: Stat, workFd: number, temp: string): Promise<void> {
  const from = await openForReading(await sb.descriptors.of(lower.parent as Real), lower.name)
  try {
    const to = await openAt(workFd, temp, O_RDWR | O_CREAT | O_EXCL, 0o600)
    try {
      await copyData(from, to, stat.size)
      if (!sb.options.volatile && stat.size > 0) await fsync(to)
    } finally {
      closeLater(to)
    }
  } finally {
    closeLater(from)
  }
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
