import { bestEffort, isErrno } from '../api/errno.ts'
import { FileType, type Name } from '../api/types.ts'
import { chmodAt } from '../sys/attr.ts'
import { mkdirAt, readdirFd, rmdirAt, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { openOrMakeDirectory } from '../sys/new-directory.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import type { Descriptors } from './descriptors.ts'
import { type Layer, Real } from './layer.ts'
import type { UpperContext } from './upper-context.ts'

/**
 * The features that the last overlay with this workdir requires of the next one: names in `work/incompat`. With `volatile`, for example, the upper may lack
 * data that was never synced. A program that does not know one of them must not use the workdir.
 */
export async function incompatibleFeatures(workdirFd: number): Promise<string[]> {
  let fd: number | undefined
  try {
    fd = await openIncompat(workdirFd)
    return (await readdirFd(fd)).map(({ name }) => name)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return []
    throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** The kernel creates `work` and `incompat` without permissions. Root can open them anyway; another owner must first grant itself permissions. */
async function openIncompat(workdirFd: number): Promise<number> {
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW
  try {
    return await openAt(workdirFd, 'work/incompat', flags)
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error
    await chmodAt(workdirFd, 'work', 0o700)
    return await openAt(workdirFd, 'work/incompat', flags)
  }
}

/** Opens `name` in the workdir and creates it if missing. Must be called inside `Descriptors.run`. */
export async function openWorkDirectory(
  descriptors: Descriptors,
  layer: Layer,
  workdir: Real,
  name: string,
): Promise<Real> {
  const workdirFd = await descriptors.of(workdir)
  const fd = await openOrMakeDirectory(workdirFd, name, 0o700)
  try {
    const real = new Real(layer, workdir, name, statxFd(fd).ino)
    descriptors.adopt(real, fd)
    return real
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Removes everything below the directory `fd`, left by an interrupted mount. */
export async function removeLeftovers(fd: number): Promise<void> {
  for (const { name, type } of await readdirFd(fd)) {
    if (type === FileType.directory) await removeTree(fd, name)
    else await unlinkAt(fd, name)
  }
}

async function removeTree(parentFd: number, name: string): Promise<void> {
  const fd = await openAt(parentFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    await removeLeftovers(fd)
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error
    // Without root, a leftover of the kernel may be inaccessible, because it has the mode of the object it was to become.
    await chmodAt(parentFd, name, 0o700)
    await removeLeftovers(fd)
  } finally {
    closeSync(fd)
  }
  await rmdirAt(parentFd, name)
}

/** Writes the mark of a volatile mount. */
export async function markVolatile(workFd: number): Promise<void> {
  await mkdirAt(workFd, 'incompat', 0o700)
  const fd = await openAt(workFd, 'incompat', O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    await mkdirAt(fd, 'volatile', 0o700)
  } finally {
    closeSync(fd)
  }
}

/**
 * Removes a directory and the whiteouts in it from the work directory, without descending further. On failure a leftover remains: the next
 * mount cleans the work directory.
 */
export async function clearWorkDir(context: UpperContext, name: Name): Promise<void> {
  await bestEffort(async () => {
    const workFd = await context.descriptors.of(context.work as Real)
    const fd = await openAt(workFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      for (const entry of await readdirFd(fd)) await unlinkAt(fd, entry.name)
    } finally {
      closeSync(fd)
    }
    await rmdirAt(workFd, name)
  })
}
