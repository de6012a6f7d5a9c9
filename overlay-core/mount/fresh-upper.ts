import { isErrno, OverlayError } from '../api/errno.ts'
import { FileType, type FreshUpper, type Name } from '../api/types.ts'
import { type Layer, Real } from '../layer/layer.ts'
import { isObject, nameStateAt } from '../layer/whiteout-format.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { chmodAt, chownAt, utimesAt } from '../sys/attr.ts'
import { readdirFd } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { ABSENT, closeSync, openIfThere } from '../sys/open.ts'
import { statxFd, statxFdAsking } from '../sys/stat.ts'
import { getXattr, listXattr, setXattr } from '../sys/xattr.ts'

/**
 * Gives the directories of a prepared upper above its paths the attributes of those of the present upper, which may have been changed since it was prepared. To be
 * called while no call is running.
 *
 * @throws EBUSY the present upper contains something at one of the paths
 */
export async function dressAbove(sb: SuperBlock, { paths }: FreshUpper, freshFd: number): Promise<void> {
  for (const path of paths) {
    using opened = new DisposableStack()
    let present = (sb.upper as Layer).root
    let fd: number | undefined = freshFd
    for (const [at, name] of path.entries()) {
      const inner = await plainDirectory(sb, present, name, at < path.length - 1)
      if (inner === undefined) break
      present = inner
      fd = fd === undefined ? undefined : await directoryAt(fd, name, opened)
      if (fd !== undefined) await dressLike(sb, await sb.descriptors.of(present), fd)
    }
    const isRoot = path.length === 0
    if (isRoot && (await readdirFd(await sb.descriptors.of(present))).length > 0)
      throw new OverlayError('EBUSY', 'freeze')
  }
}

/** The directory at `name` of the upper; undefined if it has nothing there. @throws EBUSY something else is there, or nothing may be */
async function plainDirectory(sb: SuperBlock, dir: Real, name: Name, allowed: boolean): Promise<Real | undefined> {
  const state = await nameStateAt(sb, dir, name)
  if (state === undefined) return undefined
  if (!isObject(state)) throw new OverlayError('EBUSY', 'freeze', name)
  const { fd, stat } = state
  if (fd >= 0) sb.descriptors.retire(fd)
  const real = new Real(dir.layer, dir, name, stat.ino)
  if (!allowed || stat.type !== FileType.directory || (await hidesOrMoves(sb, real)))
    throw new OverlayError('EBUSY', 'freeze', name)
  return real
}

/** Whether a directory of the upper is not simply merged with what lies below at its name. */
async function hidesOrMoves(sb: SuperBlock, real: Real): Promise<boolean> {
  const { opaque, redirect } = sb.overlayXattrs
  const names = await listXattr(await sb.descriptors.of(real), '')
  return names.includes(opaque) || names.includes(redirect)
}

async function directoryAt(dirFd: number, name: Name, opened: DisposableStack): Promise<number | undefined> {
  const fd = await openIfThere(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  if (fd === ABSENT) return undefined
  opened.defer(() => closeSync(fd))
  return fd
}

/** Gives a directory of the fresh upper everything by which clients know the present one. */
export async function dressLike(sb: SuperBlock, fromFd: number, toFd: number): Promise<void> {
  const { overlayXattrs } = sb
  const { uid, gid, mode, atime, mtime } = await statxFdAsking(fromFd)
  const now = statxFd(toFd)
  if (now.uid !== uid || now.gid !== gid) await chownAt(toFd, '', uid, gid)
  for (const name of await listXattr(fromFd, '')) {
    const isOwn = name.startsWith(overlayXattrs.prefix)
    if (isOwn && !overlayXattrs.copiesUp(name) && name !== overlayXattrs.uuid) continue
    const value = await getXattr(fromFd, '', name)
    if (value) await carry(toFd, name, value)
  }
  await chmodAt(toFd, '', mode & 0o7777)
  await utimesAt(toFd, '', atime, mtime)
}

async function carry(fd: number, name: string, value: Uint8Array): Promise<void> {
  try {
    await setXattr(fd, '', name, value)
  } catch (error) {
    if (name.startsWith('system.posix_acl_') || !isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error
  }
}
