import { bestEffort, isErrno } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import type { CreateOptions, MaybePromise, Name } from '../api/types.ts'
import type { NewObjectSpec } from '../copy-up/owner.ts'
import type { Real } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import { PLAIN } from '../layer/object-rights.ts'
import { diskXattrs } from '../layer/xattr-store.ts'
import { rememberUpper } from '../lookup/namei.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrOf } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { unlinkAt } from '../sys/dir.ts'
import { type Aside, type NewPlace, newFile } from '../sys/new-file.ts'
import { closeSync } from '../sys/open.ts'
import { type Stat, statxFd } from '../sys/stat.ts'
import { deviceFormat } from '../whiteouts/device-format.ts'

export const SETGID = 0o2000
/** More lowers than this are searched individually. */
const MOST_LOWERS = 12

/**
 * Creates an empty regular file in the upper directory in one trip: directly in its place with its final mode if the kernel gives it the right
 * owner; otherwise under a temporary name, where it gets its owner before it is moved. Either way nobody sees it incomplete, not even after a crash.
 *
 * Finds out whether the name is free, here and in the lowers. Undefined if it is not, or if the file needs more:
 * ACLs, times or a record.
 *
 * @throws ENOSPC | EDQUOT | EIO …
 */
export function makeFile(
  sb: SuperBlock,
  dir: OvlInode,
  dirAttr: CheckedAttr,
  name: Name,
  birth: NewObjectSpec,
  options: CreateOptions,
): MaybePromise<OvlInode | undefined> {
  if (options.size || !isPlain(sb, dir, birth, options)) return undefined
  if (dir.lowers.length > MOST_LOWERS) return undefined
  return after(placeIn(sb, dir, name), (place) =>
    after(asideFor(sb, dirAttr, birth), (aside) =>
      after(newOrUnknown(sb, dir, place, birth.mode, aside), (fd) =>
        fd < 0 ? undefined : after(statOrRemove(fd, place.dirFd, name), (stat) => rememberFile(sb, dir, name, stat)),
      ),
    ),
  )
}

/** Whether a new object in `dir` needs no ACLs, times or record, and the upper has its usual form. */
export function isPlain(sb: SuperBlock, dir: OvlInode, birth: NewObjectSpec, { atime, mtime }: CreateOptions): boolean {
  const { layer } = dir.upper as Real
  if (birth.access !== undefined || birth.defaultAcl !== undefined || atime !== undefined || mtime !== undefined)
    return false
  return !sb.keepsOwners && sb.xattrStore === diskXattrs && layer.marks === deviceFormat
}

function rememberFile(sb: SuperBlock, dir: OvlInode, name: Name, stat: Stat): OvlInode {
  const inode = rememberUpper(sb, dir, name, { stat, fd: -1 }, PLAIN)
  if (sb.options.revalidate === 'never') (inode.upper as Real).coversNothingIn = sb.stackVersion
  inode.attr = attrOf(inode, stat)
  return inode
}

/** The descriptors of the directory, synchronously if all of them are open. */
function placeIn(sb: SuperBlock, { upper, lowers }: OvlInode, name: Name): MaybePromise<NewPlace> {
  const dirFd = sb.descriptors.of(upper as Real)
  const absentFrom = lowers.map((lower) => sb.descriptors.of(lower))
  const waits = dirFd instanceof Promise || absentFrom.some((fd) => fd instanceof Promise)
  if (!waits) return { dirFd, name, absentFrom: absentFrom as number[] }
  return Promise.all([dirFd, ...absentFrom]).then(([own, ...others]) => ({ dirFd: own, name, absentFrom: others }))
}

/** Like `newFile`. After EIO it is unknown whether the file was created, so the cached state of its name is dropped. */
function newOrUnknown(
  sb: SuperBlock,
  dir: OvlInode,
  place: NewPlace,
  mode: number,
  aside: Aside | undefined,
): MaybePromise<number> {
  const failed = (error: unknown): never => {
    if (isErrno(error, 'EIO')) {
      sb.dcache.remove(dir, place.name)
      sb.listings.drop(dir)
      dir.changed()
      if (sb.charges) sb.charges.quota.doubtful = true
    }
    throw error
  }
  try {
    const made = newFile(place, mode, aside)
    return made instanceof Promise ? made.catch(failed) : made
  } catch (error) {
    return failed(error)
  }
}

/** Where to build the file if it would first belong to another owner. */
function asideFor(sb: SuperBlock, dirAttr: CheckedAttr, { uid, gid }: NewObjectSpec): MaybePromise<Aside | undefined> {
  const groupAtBirth = (dirAttr.mode & SETGID) === 0 ? sb.serverGid : dirAttr.gid
  if (uid === sb.serverUid && gid === groupAtBirth) return undefined
  return after(sb.descriptors.of(sb.work as Real), (workFd) => ({ workFd, temp: sb.tempName(), uid, gid }))
}

/** Reads the attributes of the new file and closes its descriptor; if that fails, removes the file. */
function statOrRemove(fd: number, dirFd: number, name: Name): MaybePromise<Stat> {
  try {
    return statxFd(fd)
  } catch (error) {
    return after(
      bestEffort(() => unlinkAt(dirFd, name)),
      () => {
        throw error
      },
    )
  } finally {
    closeSync(fd)
  }
}
