import { bestEffort, isErrno } from '../api/errno.ts'
import type { Attr, Cred, Name, Time } from '../api/types.ts'
import { copyInPlace } from '../copy-up/copy-data.ts'
import { copyUp } from '../copy-up/copy-up.ts'
import { changeOwner } from '../copy-up/owner.ts'
import type { Real } from '../layer/layer.ts'
import { setTimes } from '../layer/storage.ts'
import { removeTemp } from '../layer/whiteout.ts'
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

/** Added to the name of a finished file in the work directory: the further name, there, of the file that is to get its content. */
const TARGET_SUFFIX = '.into'

/** A finished file in the work directory, and where its content goes. */
export interface OverwriteSource {
  readonly fd: number
  readonly temp: Name
  readonly sizeBytes: number
  readonly mtime: Time | undefined
}

/** Whether all names of `inode` are to see what is put at one of them: it has several, and they share one upper object or will. */
export function hasOtherNames(inode: OvlInode, { nlink }: Attr): boolean {
  return nlink > 1 && (inode.upper !== undefined || inode.indexName !== undefined)
}

/**
 * Puts the content of a finished file into `inode`, which stays what it is, with all of its names. A rename could not do that, so it is written in place: whoever reads
 * meanwhile may see both contents mixed. A crash does not leave it so: both files stand in the work directory until all is written and on the disk, and the next mount writes it
 * again (`finishRefills`). The caller holds the lock of the name's directory.
 *
 * @throws ENOSPC | EDQUOT there is no room: nothing was changed · EIO
 */
export async function overwriteInPlace(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  from: OverwriteSource,
): Promise<void> {
  await copyUp(sb, inode)
  const file = await sb.files.acquire(sb, inode, true)
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
  await removeTemp(sb, from.temp)
}

interface Overwriting {
  readonly from: OverwriteSource
  /** Of the target. */
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
    // First, so that there is no moment, and no crash after which, the new content has the powers of the old one.
    const mode = modeAfterWrite(cred, now)
    if (mode !== now.mode) await changeOwner(sb, inode, { fd, name: '' }, now, { mode })
    if (!sb.options.volatile) await toDisk(from.fd, fd)
    begun = true
    await copyInPlace(from.fd, fd, from.sizeBytes)
    const mtime = ownTime(now, from.mtime, statxFd(fd).mtime)
    if (mtime) await setTimes(sb, { fd, name: '' }, { mtime })
    if (!sb.options.volatile) await fsync(fd)
  } catch (error) {
    if (!begun) await removeTemp(sb, target)
    else await leaveToMount(workFd, from.temp, sb.tempName())
    throw error
  }
  await removeTemp(sb, target)
}

/**
 * The time that has to be set, if any. In a file that stays the same, the modification time is what tells contents of one size apart, so no two have the same: of a time that was
 * asked for the second counts, the rest is that of the writing.
 */
function ownTime(before: Attr, asked: Time | undefined, written: Time): Time | undefined {
  const wanted = asked ? { sec: asked.sec, nsec: written.nsec } : written
  if (wanted.sec !== before.mtime.sec || wanted.nsec !== before.mtime.nsec) return asked && wanted
  return wanted.nsec === 999_999_999 ? { sec: wanted.sec, nsec: 0 } : { sec: wanted.sec, nsec: wanted.nsec + 1 }
}

/** The disk failed in the middle: what is to be written stays, under a name that nobody removes, for the next mount to try again. */
async function leaveToMount(workFd: number, temp: Name, fresh: Name): Promise<void> {
  await bestEffort(() => renameAt(workFd, temp, workFd, fresh))
  await bestEffort(() => renameAt(workFd, `${temp}${TARGET_SUFFIX}`, workFd, `${fresh}${TARGET_SUFFIX}`))
}

/** Ends at mount what a crash has cut off. A target stands beside a finished file only while that is written into it. */
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

/** The finished content, and that it is to go into the other file, are on the disk before anything of that is overwritten. */
async function toDisk(from: number, target: number): Promise<void> {
  await fsync(from)
  await fsync(target)
}

/** Takes the room that the file will need more, so that a full disk shows before anything has been overwritten. */
async function makeRoom(fd: number, from: number, to: number): Promise<void> {
  try {
    await fallocate(fd, FALLOC_FL_KEEP_SIZE, from, to - from)
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP')) throw error
  }
}
