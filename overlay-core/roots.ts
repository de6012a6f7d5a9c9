import { isErrno, OverlayError } from './errno.ts'
import { type MountOptions, OptionError } from './params.ts'
import { claimDir } from './sys/claim.ts'
import { closeSync, openDirectory, openRoot } from './sys/open.ts'
import { canonicalPath } from './sys/path.ts'
import { statxFd } from './sys/stat.ts'
import { hasVolatileMark, strangersIn } from './workdir.ts'

/** The open directories of a mount: O_PATH descriptors, and the claims on upper and workdir. */
export interface Roots {
  readonly lowerFds: readonly number[]
  readonly dataFds: readonly number[]
  readonly upperFd: number | undefined
  readonly workFd: number | undefined
  /** Closing these gives the claims up. */
  readonly claims: readonly number[]
}

/**
 * Opens and checks all directories of a mount without changing anything.
 *
 * @throws OptionError missing, not a directory, unreadable, nested, on another file system, or busy: names the option and the mend
 */
export async function openRoots(options: MountOptions): Promise<Roots> {
  const opened: number[] = []
  try {
    const lowerFds = await openAll('lowerdir', options.lowerdir, opened)
    const dataFds = await openAll('datadir', options.datadir, opened)
    if (options.upperdir === undefined || options.workdir === undefined) {
      return { lowerFds, dataFds, upperFd: undefined, workFd: undefined, claims: [] }
    }
    const [upperFd] = (await openAll('upperdir', [options.upperdir], opened)) as [number]
    const [workFd] = (await openAll('workdir', [options.workdir], opened)) as [number]
    await needApart(options)
    needSameFileSystem(options.workdir, upperFd, workFd)
    await needOwnWorkdir(options.workdir, workFd)
    const claims = [
      await claim('upperdir', options.upperdir, upperFd, opened),
      await claim('workdir', options.workdir, workFd, opened),
    ]
    return { lowerFds, dataFds, upperFd, workFd, claims }
  } catch (error) {
    for (const fd of opened) closeSync(fd)
    throw error
  }
}

/** Gives the claims up and closes all. */
export function closeRoots(roots: Roots): void {
  for (const fd of [...roots.lowerFds, ...roots.dataFds, ...roots.claims]) closeSync(fd)
  if (roots.upperFd !== undefined) closeSync(roots.upperFd)
  if (roots.workFd !== undefined) closeSync(roots.workFd)
}

async function openAll(option: string, paths: readonly string[], opened: number[]): Promise<number[]> {
  const fds: number[] = []
  for (const path of paths) {
    const fd = await openOne(option, path)
    opened.push(fd)
    fds.push(fd)
  }
  return fds
}

async function openOne(option: string, path: string): Promise<number> {
  let fd: number | undefined
  try {
    fd = await openRoot(path)
    closeSync(await openDirectory(fd))
    return fd
  } catch (error) {
    if (fd !== undefined) closeSync(fd)
    throw explained(option, path, error)
  }
}

function explained(option: string, path: string, error: unknown): unknown {
  if (isErrno(error, 'ENOENT'))
    return new OptionError(option, `'${path}' does not exist; create it (mkdir -p) or correct the path`)
  if (isErrno(error, 'ENOTDIR')) return new OptionError(option, `'${path}' is not a directory; name a directory`)
  if (isErrno(error, 'EACCES', 'EPERM')) {
    return new OptionError(
      option,
      `'${path}' cannot be read by this user; grant read and search permission (chmod, chown)`,
    )
  }
  if (error instanceof OverlayError) return new OptionError(option, `'${path}' cannot be opened: ${error.code}`)
  return error
}

/** Upper and workdir may not lie in each other or in a lower, and lowers not in each other (ovl_check_layer). */
async function needApart(options: MountOptions): Promise<void> {
  const all: { option: string; path: string; real: string }[] = []
  const add = async (option: string, path: string) => all.push({ option, path, real: await canonicalPath(path) })
  for (const path of options.lowerdir) await add('lowerdir', path)
  for (const path of options.datadir) await add('datadir', path)
  await add('upperdir', options.upperdir as string)
  await add('workdir', options.workdir as string)
  for (const [i, inner] of all.entries()) {
    for (const [j, outer] of all.entries()) {
      if (i === j) continue
      const same = inner.real === outer.real
      if (same && inner.option === outer.option) {
        if (i > j) throw new OptionError(inner.option, `'${inner.path}' is given twice; name each directory once`)
        continue
      }
      if (same)
        throw new OptionError(inner.option, `'${inner.path}' is also the ${outer.option}; use different directories`)
      if (inner.real.startsWith(outer.real === '/' ? '/' : `${outer.real}/`)) {
        throw new OptionError(
          inner.option,
          `'${inner.path}' lies inside the ${outer.option} '${outer.path}'; use directories apart from each other`,
        )
      }
    }
  }
}

function needSameFileSystem(workdir: string, upperFd: number, workFd: number): void {
  const upper = statxFd(upperFd)
  const work = statxFd(workFd)
  if (upper.devMajor === work.devMajor && upper.devMinor === work.devMinor && upper.mountId === work.mountId) return
  throw new OptionError('workdir', `'${workdir}' is not on the file system of upperdir; put both on the same one`)
}

async function needOwnWorkdir(workdir: string, workFd: number): Promise<void> {
  const [stranger] = await strangersIn(workFd)
  if (stranger !== undefined) {
    throw new OptionError(
      'workdir',
      `'${workdir}' holds '${stranger}', which no overlay put there; name an empty directory`,
    )
  }
  if (await hasVolatileMark(workFd)) {
    throw new OptionError(
      'workdir',
      `'${workdir}' was used by a volatile overlay; throw upper and work away, or remove work/incompat/volatile to trust them`,
    )
  }
}

async function claim(option: string, path: string, dirFd: number, opened: number[]): Promise<number> {
  const fd = await claimDir(dirFd)
  if (fd === undefined)
    throw new OptionError(
      option,
      `'${path}' is in use by another overlay (EBUSY); stop that one or name another directory`,
    )
  opened.push(fd)
  return fd
}
