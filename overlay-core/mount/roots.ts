import { isErrno, OverlayError } from '../api/errno.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import { incompatibleFeatures } from '../layer/workdir.ts'
import { claimDir } from '../sys/claim.ts'
import { closeSync, openDirectory, openPrivateRoot, openRoot } from '../sys/open.ts'
import { canonicalPath } from '../sys/path.ts'
import { liesIn, placesOf } from '../sys/place.ts'
import { statxFd, uniqueMountId } from '../sys/stat.ts'
import { strangersIn } from './workdir-names.ts'

/** An open directory of a mount: its canonical path and an O_PATH descriptor. */
export interface RootDir {
  readonly path: string
  readonly fd: number
  /** The mount through which it is accessed (`uniqueMountId`); undefined if mounts cannot be distinguished. */
  readonly mount: string | undefined
}

/** The open lowers of a mount. */
export interface LowerRoots {
  readonly lowers: readonly RootDir[]
  readonly data: readonly RootDir[]
}

/** All open directories of a mount, and the claims on upper and workdir. */
export interface Roots extends LowerRoots {
  readonly upper: RootDir | undefined
  readonly work: RootDir | undefined
  /** Closing these releases the claims. */
  readonly claims: readonly number[]
}

/**
 * Opens and checks all directories of a mount without changing anything.
 *
 * @throws OptionError missing, not a directory, unreadable, nested, on another file system, or busy; the message names the option and the mend
 */
export async function openRoots(options: MountOptions): Promise<Roots> {
  using opened = new DisposableStack()
  const { lowers, data } = await openLowersInto(opened, options)
  if (options.upperdir === undefined || options.workdir === undefined) {
    await needApart(options)
    opened.move()
    return { lowers, data, upper: undefined, work: undefined, claims: [] }
  }
  const upper = await openOne('upperdir', options.upperdir, opened)
  const work = await openOne('workdir', options.workdir, opened)
  await needApart(options)
  needSameFileSystem(options.workdir, upper.fd, work.fd)
  await needOwnWorkdir(options.workdir, work.fd)
  const claims = [
    await claim('upperdir', options.upperdir, upper.fd, opened),
    await claim('workdir', options.workdir, work.fd, opened),
  ]
  opened.move()
  return { lowers, data, upper, work, claims }
}

/** Like `openRoots` for the lowers alone, for an overlay that already holds its upper and workdir. */
export async function openLowers(options: MountOptions): Promise<LowerRoots> {
  using opened = new DisposableStack()
  const lowers = await openLowersInto(opened, options)
  await needApart(options)
  opened.move()
  return lowers
}

async function openLowersInto(opened: DisposableStack, options: MountOptions): Promise<LowerRoots> {
  const lowers: RootDir[] = []
  const data: RootDir[] = []
  for (const path of options.lowerdir) lowers.push(await openOne('lowerdir', path, opened))
  for (const path of options.datadir) data.push(await openOne('datadir', path, opened))
  return { lowers, data }
}

/** Releases the claims and closes everything. */
export function closeRoots({ lowers, data, upper, work, claims }: Roots): void {
  for (const root of [...lowers, ...data, upper, work]) if (root) closeSync(root.fd)
  for (const fd of claims) closeSync(fd)
}

async function openOne(option: string, path: string, opened: DisposableStack): Promise<RootDir> {
  try {
    // Upper and workdir must be accessed through the same mount, so that objects can be moved between them.
    const isLower = option === 'lowerdir' || option === 'datadir'
    const mount = await mountOf(path)
    const fd = isLower ? await openPrivateRoot(path) : await openRoot(path)
    opened.defer(() => closeSync(fd))
    closeSync(await openDirectory(fd))
    return { fd, path: await canonicalPath(path), mount }
  } catch (error) {
    throw explained(option, path, error)
  }
}

/** The public mount of a path; a lower is accessed through a private copy of it. */
async function mountOf(path: string): Promise<string | undefined> {
  const fd = await openRoot(path)
  try {
    return await uniqueMountId(fd)
  } finally {
    closeSync(fd)
  }
}

function explained(option: string, path: string, error: unknown): unknown {
  if (isErrno(error, 'ENOENT'))
    return new OptionError(option, `'${path}' does not exist; create it (mkdir -p) or correct the path`)
  if (isErrno(error, 'ENOTDIR')) return new OptionError(option, `'${path}' is not a directory; use a directory`)
  if (isErrno(error, 'EACCES', 'EPERM')) {
    return new OptionError(option, `this user cannot read '${path}'; grant read and search permission (chmod, chown)`)
  }
  if (error instanceof OverlayError)
    return new OptionError(
      option,
      `cannot open '${path}' (${error.code}); correct the path, or choose another directory`,
    )
  return error
}

/** Checks that no directory is inside another one or given twice (ovl_check_overlapping_layers). */
async function needApart(options: MountOptions): Promise<void> {
  const all: { option: string; path: string; real: string }[] = []
  const add = async (option: string, path: string) => all.push({ option, path, real: await canonicalPath(path) })
  for (const path of options.lowerdir) await add('lowerdir', path)
  for (const path of options.datadir) await add('datadir', path)
  if (options.upperdir !== undefined) await add('upperdir', options.upperdir)
  if (options.workdir !== undefined) await add('workdir', options.workdir)
  await needApartOnTheirFileSystem(options, all)
  for (const [i, inner] of all.entries()) {
    for (const [j, outer] of all.entries()) {
      if (i === j) continue
      const same = inner.real === outer.real
      if (same && inner.option === outer.option) {
        if (i > j) throw new OptionError(inner.option, `'${inner.path}' is given twice; use each directory once`)
        continue
      }
      if (same)
        throw new OptionError(inner.option, `'${inner.path}' is also the ${outer.option}; use different directories`)
      if (inner.real.startsWith(outer.real === '/' ? '/' : `${outer.real}/`)) {
        throw new OptionError(
          inner.option,
          `'${inner.path}' is inside the ${outer.option} '${outer.path}'; use separate directories`,
        )
      }
    }
  }
}

/** Like `needApart` for upper and workdir against the lowers, but also detects bind mounts that lead to the same place by another path. */
async function needApartOnTheirFileSystem(
  { upperdir, workdir }: MountOptions,
  all: readonly { option: string; path: string; real: string }[],
): Promise<void> {
  const lowers = all.filter(({ option }) => option === 'lowerdir' || option === 'datadir')
  const below = (inner: string, outer: string) => inner === outer || inner.startsWith(outer === '/' ? '/' : `${outer}/`)
  const placesOfLowers = upperdir === undefined ? [] : await Promise.all(lowers.map(({ path }) => placesOf(path)))
  for (const [option, path] of [['upperdir', upperdir] as const, ['workdir', workdir] as const]) {
    if (path === undefined) continue
    const own = await placesOf(path)
    const real = await canonicalPath(path)
    for (const [i, lower] of lowers.entries()) {
      // Overlaps that the paths show have their own message.
      if (below(lower.real, real) || below(real, lower.real)) continue
      const places = placesOfLowers[i] ?? []
      if (!liesIn(own, places, false) && !liesIn(places, own, false)) continue
      throw new OptionError(
        option,
        `a bind mount makes '${path}' the same directory as the ${lower.option} '${lower.path}', or nests one in the other; use separate directories`,
      )
    }
  }
}

function needSameFileSystem(workdir: string, upperFd: number, workFd: number): void {
  const upper = statxFd(upperFd)
  const work = statxFd(workFd)
  if (upper.devMajor === work.devMajor && upper.devMinor === work.devMinor && upper.mountId === work.mountId) return
  throw new OptionError(
    'workdir',
    `'${workdir}' is not on the same file system as upperdir; put both on one file system`,
  )
}

async function needOwnWorkdir(workdir: string, workFd: number): Promise<void> {
  const [stranger] = await strangersIn(workFd)
  if (stranger !== undefined) {
    throw new OptionError(
      'workdir',
      `'${workdir}' contains '${stranger}', which no overlay created; use an empty directory`,
    )
  }
  const features = await incompatibleFeatures(workFd)
  if (features.includes('volatile')) {
    throw new OptionError(
      'workdir',
      `'${workdir}' was used by a volatile overlay; delete upperdir and workdir, or remove work/incompat/volatile to trust them`,
    )
  }
  if (features.length > 0) {
    throw new OptionError(
      'workdir',
      `'${workdir}' was used by an overlay with the unknown feature '${features[0]}' (work/incompat); use the program that created it`,
    )
  }
}

async function claim(option: string, path: string, dirFd: number, opened: DisposableStack): Promise<number> {
  const fd = await claimDir(dirFd)
  if (fd === undefined)
    throw new OptionError(
      option,
      `'${path}' is in use by another overlay (EBUSY); stop that one, or use another directory`,
    )
  opened.defer(() => closeSync(fd))
  return fd
}
