import { bestEffort, isErrno } from '../api/errno.ts'
import type { Attr, Cred, Name, Time } from '../api/types.ts'
import { copyInPlace } from '../copy-up/copy-data.ts'
import { copyUp } from '../copy-up/copy-up.ts'
import { changeOwner } from '../copy-up/owner.ts'
import type { Real } from '../layer/layer.ts'
import { setTimes } from '../layer/storage.ts'
import { removeTemp } from '../layer/whiteout.ts'
import { resizing } from '../objects/charges.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattrLocked } from '../objects/inode.ts'
import { modeAfterWrite } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { fallocate } from '../sys/attr.ts'
import { fsync } from '../sys/data.ts'
import { linkFd, readdirFd, renameAt, unlinkAt } from '../sys/dir.ts'
import { FALLOC_FL_KEEP_SIZE, O_NOFOLLOW, O_RDWR } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

/** Suffix of the second name, in the work directory, of the file that receives the content; the first part is the name of the finished file. */
const TARGET_SUFFIX = '.into'

/** A finished file in the work directory, whose content is to be written into another file. */
export interface OverwriteSource {
  readonly fd: number
  readonly temp: Name
  readonly sizeBytes: number
  readonly mtime: Time | undefined
}

/** Whether all names of `inode` must see content written through one of them: it has several names, and they share one upper object or will. */
export function hasOtherNames(inode: OvlInode, { nlink }: Attr): boolean {
  return nlink > 1 && (inode.upper !== undefined || inode.indexName !== undefined)
}

/**
 * Writes the content of a finished file into `inode`, which keeps its identity and all its names. A rename could not do that, so the file is
 * overwritten in place, and concurrent readers may see a mix of old and new content. A crash does not leave such a mix: both files have names in
 * the work directory until everything is written and durable, and the next mount repeats the writing (`finishOverwrites`). The caller holds the
 * lock of the name's directory.
 *
 * @throws ENOSPC | EDQUOT there is not enough space, and nothing was changed · EIO
 */
export async function overwriteInPlace(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  from: OverwriteSource,
): Promise<void> {
  await copyUp(sb, inode)
  await resizing(sb.charges, inode, from.sizeBytes, (reserve) => {
    reserve()
    return overwrite(sb, cred, inode, from)
  })
  await removeTemp(sb, from.temp)
}

async function overwrite(sb: SuperBlock, cred: Cred, inode: OvlInode, from: OverwriteSource): Promise<void> {
  const file = await sb.files.acquire(inode, true)
  try {
    await inode.nodeLock.exclusive(async () => {
      const now = await getattrLocked(sb, inode)
      if (from.sizeBytes > now.size) await makeRoom(file.fd, now.size, from.sizeBytes)
      inode.writing++
      try {
        await overwriteLocked(sb, cred, inode, { from, fd: file.fd, now })
      } finally {
        inode.writing--
        inode.changed()
      }
    })
  } finally {
    sb.files.release(file)
  }
}

interface Overwriting {
  readonly from: OverwriteSource
  /** The descriptor of the target. */
  readonly fd: number
  /** The target's attributes. */
  readonly now: Attr
}

async function overwriteLocked(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  { from, fd, now }: Overwriting,
): Promise<void> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  const target = `${from.temp}${TARGET_SUFFIX}`
  await linkFd(fd, workFd, target)
  let begun = false
  try {
    // The mode changes first, so that the new content never has the privileges of the old one, not even after a crash.
    const mode = modeAfterWrite(cred, now)
    if (mode !== now.mode) await changeOwner(sb, inode, { fd, name: '' }, now, { mode })
    if (!sb.options.volatile) await toDisk(from.fd, fd)
    begun = true
    // The old content is gone now, so the only way out of a failure is to write the new one again: all of it, because an fsync that failed
    // forgets what it could not write.
    await refill(sb, { from, fd, now }).catch(() => refill(sb, { from, fd, now }))
  } catch (error) {
    if (!begun) await removeTemp(sb, target)
    else {
      // The next mount may change its size.
      if (sb.charges) sb.charges.quota.doubtful = true
      await leaveToMount(workFd, from.temp, sb.tempName())
    }
    throw error
  }
  await removeTemp(sb, target)
}

/** Writes the whole content, its time, and both to the disk. Can be repeated. */
async function refill(sb: SuperBlock, { from, fd, now }: Overwriting): Promise<void> {
  await copyInPlace(from.fd, fd, from.sizeBytes)
  const mtime = ownTime(now, from.mtime, statxFd(fd).mtime)
  if (mtime) await setTimes(sb, { fd, name: '' }, { mtime })
  if (!sb.options.volatile) await fsync(fd)
}

/**
 * Returns the modification time to set, if any. While a file keeps its inode, only the modification time distinguishes contents of the same size,
 * so it must differ from the one before. A requested time keeps its seconds; its nanoseconds are those of the writing.
 */
function ownTime(before: Attr, asked: Time | undefined, written: Time): Time | undefined {
  const wanted = asked ? { sec: asked.sec, nsec: written.nsec } : written
  if (wanted.sec !== before.mtime.sec || wanted.nsec !== before.mtime.nsec) return asked && wanted
  return wanted.nsec === 999_999_999 ? { sec: wanted.sec, nsec: 0 } : { sec: wanted.sec, nsec: wanted.nsec + 1 }
}

/** After the disk failed in the middle, twice: keeps the content under a name that nobody removes, so that the next mount tries again. */
async function leaveToMount(workFd: number, temp: Name, fresh: Name): Promise<void> {
  await bestEffort(() => renameAt(workFd, temp, workFd, fresh))
  await bestEffort(() => renameAt(workFd, `${temp}${TARGET_SUFFIX}`, workFd, `${fresh}${TARGET_SUFFIX}`))
}

/** Finishes at mount what a crash interrupted. A target exists beside a finished file only while that file is written into it. */
export async function finishOverwrites(workFd: number): Promise<void> {
  for (const { name } of await readdirFd(workFd)) {
    if (!name.endsWith(TARGET_SUFFIX)) continue
    const target = await openAt(workFd, name, O_RDWR | O_NOFOLLOW)
    try {
      await finishRefill(workFd, name.slice(0, -TARGET_SUFFIX.length), target)
    } finally {
      closeSync(target)
    }
    await unlinkAt(workFd, name)
  }
}

async function finishRefill(workFd: number, temp: Name, target: number): Promise<void> {
  let from: number
  try {
    from = await openAt(workFd, temp, O_RDWR | O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    throw error
  }
  try {
    await copyInPlace(from, target, statxFd(from).size)
    await fsync(target)
  } finally {
    closeSync(from)
  }
}

/** Makes the finished content and the name of the target durable before the target is overwritten. */
async function toDisk(from: number, target: number): Promise<void> {
  await fsync(from)
  await fsync(target)
}

/** Allocates the additional space that the file needs, so that a full disk is noticed before anything is overwritten. */
async function makeRoom(fd: number, from: number, to: number): Promise<void> {
  try {
    await fallocate(fd, FALLOC_FL_KEEP_SIZE, from, to - from)
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP')) throw error
  }
}
