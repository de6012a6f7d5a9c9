import { dirname } from 'node:path'
import { isErrno, OverlayError } from '../api/errno.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import { incompatibleFeatures } from '../layer/workdir.ts'
import { claimDir, isClaimed } from '../sys/claim.ts'
import { readdirFd } from '../sys/dir.ts'
import { closeLater, closeSync, openDirectory, openPrivateRoot, openRoot } from '../sys/open.ts'
import { openOwnRoots } from '../sys/own-roots.ts'
import { pathOfFd } from '../sys/path.ts'
import { type Place, placesOfFd } from '../sys/place.ts'
import { statxFd, uniqueMountId } from '../sys/stat.ts'
import type { KnownLayers } from './known-layers.ts'
import { type NamedRoot, needApart } from './nesting.ts'
import { strangerAmong } from './workdir-names.ts'

/** An open directory of a mount: its canonical path and an O_PATH descriptor. */
export interface RootDir {
  /** The path as the administrator wrote it. */
  readonly given: string
  readonly path: string
  readonly fd: number
  /** The mount through which it is accessed (`uniqueMountId`); undefined if mounts cannot be distinguished. */
  readonly mount: string | undefined
  /** Where it lies on its file system. */
  readonly places: readonly Place[]
  /** Whether somebody else closes the descriptor: a stack, which has compared its directories with each other, or `Descriptors`. */
  readonly shared: boolean
}

/** The open lowers of a mount. */
export interface LowerRoots {
  readonly lowers: readonly RootDir[]
  readonly data: readonly RootDir[]
}

/** The open upper and workdir of a mount. */
interface OwnRoots {
  readonly upper: RootDir
  readonly work: RootDir
}

/** The open lowers of a stack, and what is known of them. */
interface OpenStack {
  readonly roots: LowerRoots
  readonly known: KnownLayers
}

/** The claims on upper and workdir. */
interface Claimed {
  /** The names in the workdir, read after it was claimed. */
  readonly workNames: ReadonlySet<string>
  /** Closing these releases the claims. */
  readonly claims: readonly number[]
}

const NOTHING_CLAIMED: Claimed = { workNames: new Set(), claims: [] }

/** All open directories of a mount, and the claims on upper and workdir. */
export interface Roots extends LowerRoots, Claimed {
  readonly upper: RootDir | undefined
  readonly work: RootDir | undefined
}

/**
 * Opens and checks all directories of a mount without changing anything.
 *
 * @param claimed whether the caller has claimed a directory that contains upper and workdir
 * @param stack the open lowers, if they belong to a stack, and what is known of them
 * @throws OptionError missing, not a directory, unreadable, nested, on another file system, or busy; the message names the option and the mend
 */
export async function openRoots(options: MountOptions, claimed: boolean, stack?: OpenStack): Promise<Roots> {
  using opened = new DisposableStack()
  const below = stack ? await openOnStack(opened, options, stack.roots) : await openLowersInto(opened, options)
  const own =
    (stack && (await openOwnAtOnce(opened, options, claimed, stack.known))) ?? (await openOwnInto(opened, options))
  needApart(named(below, own))
  const roots = own ? await claimOwn(own, claimed, opened) : { upper: undefined, work: undefined, ...NOTHING_CLAIMED }
  opened.move()
  return { ...below, ...roots }
}

/** Like `openRoots` for the lowers alone, for an overlay that already holds its upper and workdir. Those of a stack are open. */
export async function openLowers(
  options: MountOptions,
  { upper, work }: Pick<Roots, 'upper' | 'work'>,
  stack?: { readonly roots: LowerRoots },
): Promise<LowerRoots> {
  using opened = new DisposableStack()
  const below = stack ? await openOnStack(opened, options, stack.roots) : await openLowersInto(opened, options)
  needApart(named(below, upper && work && { upper: await placedAgain(upper), work: await placedAgain(work) }))
  opened.move()
  return below
}

/** The directory with its present place: file systems may have been mounted since. */
async function placedAgain(dir: RootDir): Promise<RootDir> {
  return { ...dir, path: pathOfFd(dir.fd), places: await placesOfFd(dir.fd) }
}

function named({ lowers, data }: LowerRoots, own: Pick<OwnRoots, 'upper' | 'work'> | undefined): NamedRoot[] {
  const all: NamedRoot[] = [
    ...lowers.map((dir) => ({ option: 'lowerdir' as const, dir })),
    ...data.map((dir) => ({ option: 'datadir' as const, dir })),
  ]
  if (own) all.push({ option: 'upperdir', dir: own.upper }, { option: 'workdir', dir: own.work })
  return all
}

async function openLowersInto(opened: DisposableStack, options: MountOptions): Promise<LowerRoots> {
  const lowers: RootDir[] = []
  const data: RootDir[] = []
  for (const path of options.lowerdir) lowers.push(await openOne('lowerdir', path, opened))
  for (const path of options.datadir) data.push(await openOne('datadir', path, opened))
  return { lowers, data }
}

/** Opens the frozen layers, which are above the lowers of the stack. */
async function openOnStack(
  opened: DisposableStack,
  { lowerdir, frozen = 0 }: MountOptions,
  { lowers, data }: LowerRoots,
): Promise<LowerRoots> {
  const own: RootDir[] = []
  for (const path of lowerdir.slice(0, frozen)) own.push(await openOne('lowerdir', path, opened))
  return { lowers: [...own, ...lowers], data }
}

/** Opens upper and workdir; undefined if there are none. */
async function openOwnInto(opened: DisposableStack, options: MountOptions): Promise<OwnRoots | undefined> {
  if (options.upperdir === undefined || options.workdir === undefined) return undefined
  const upper = await openOne('upperdir', options.upperdir, opened)
  const work = await openOne('workdir', options.workdir, opened)
  return { upper, work }
}

/** Like `openOwnInto`, with the claims, on file systems that an earlier mount on the stack has examined; undefined if that is not possible. */
async function openOwnAtOnce(
  opened: DisposableStack,
  { upperdir, workdir }: MountOptions,
  claimed: boolean,
  known: KnownLayers,
): Promise<(OwnRoots & Claimed) | undefined> {
  if (upperdir === undefined || workdir === undefined) return undefined
  const own = await openOwnRoots(upperdir, workdir, !claimed)
  if (!own) return undefined
  const { upperFd, workFd, upperMount, workMount, claims, workNames } = own
  using undo = new DisposableStack()
  for (const fd of [upperFd, workFd, ...claims]) undo.defer(() => closeSync(fd))
  if (!isKnown(known, upperFd, upperMount) || !isKnown(known, workFd, workMount)) return undefined
  const place = async (given: string, fd: number, mount: string | undefined) => {
    return { given, path: pathOfFd(fd), fd, mount, places: await placesOfFd(fd), shared: false }
  }
  const upper = await place(upperdir, upperFd, upperMount)
  const work = await place(workdir, workFd, workMount)
  opened.use(undo.move())
  return { upper, work, claims, workNames }
}

function isKnown(known: KnownLayers, fd: number, mount: string | undefined): boolean {
  const { devMajor, devMinor } = statxFd(fd)
  return mount !== undefined && known.isLocal(`${devMajor}:${devMinor}`, mount)
}

async function claimOwn(
  { upper, work, ...done }: OwnRoots & Partial<Claimed>,
  claimed: boolean,
  opened: DisposableStack,
): Promise<OwnRoots & Claimed> {
  needSameFileSystem(work.given, upper.fd, work.fd)
  if (!claimed) await needUnclaimedAbove(upper, work)
  if (done.claims && done.workNames) {
    await needOwnWorkdir(work.given, work.fd, done.workNames)
    return { upper, work, claims: done.claims, workNames: done.workNames }
  }
  const claims: number[] = []
  if (!claimed) {
    claims.push(await claim('upperdir', upper.given, upper.fd, opened))
    claims.push(await claim('workdir', work.given, work.fd, opened))
  }
  return { upper, work, claims, workNames: await needOwnWorkdir(work.given, work.fd) }
}

/** Releases the claims and closes everything. A private copy of a mount takes long to close. */
export function closeRoots({ lowers, data, upper, work, claims }: Roots): void {
  closeLowers({ lowers, data })
  for (const root of [upper, work]) if (root && !root.shared) closeSync(root.fd)
  for (const fd of claims) closeSync(fd)
}

/** Closes lowers that no stack owns. */
export function closeLowers({ lowers, data }: LowerRoots): void {
  for (const root of [...lowers, ...data]) if (!root.shared) closeLater(root.fd)
}

async function openOne(option: string, path: string, opened: DisposableStack): Promise<RootDir> {
  try {
    const seen = await openRoot(path)
    using undo = new DisposableStack()
    undo.defer(() => closeSync(seen))
    const about = {
      given: path,
      path: pathOfFd(seen),
      mount: await uniqueMountId(seen),
      places: await placesOfFd(seen),
    }
    // Upper and workdir must be accessed through the same mount, so that objects can be moved between them. A lower is accessed through a private copy.
    const isLower = option === 'lowerdir' || option === 'datadir'
    const fd = isLower ? await openPrivateRoot(path) : seen
    if (!isLower) undo.move()
    opened.defer(() => (isLower ? closeLater(fd) : closeSync(fd)))
    closeSync(await openDirectory(fd))
    return { ...about, fd, shared: false }
  } catch (error) {
    throw explained(option, path, error)
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

function needSameFileSystem(workdir: string, upperFd: number, workFd: number): void {
  const upper = statxFd(upperFd)
  const work = statxFd(workFd)
  if (upper.devMajor === work.devMajor && upper.devMinor === work.devMinor && upper.mountId === work.mountId) return
  throw new OptionError(
    'workdir',
    `'${workdir}' is not on the same file system as upperdir; put both on one file system`,
  )
}

/** Checks that the workdir belongs to this program and returns the names in it. */
async function needOwnWorkdir(
  workdir: string,
  workFd: number,
  known?: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const names = known ?? new Set((await readdirFd(workFd)).map(({ name }) => name))
  const stranger = strangerAmong(names)
  if (stranger !== undefined) {
    throw new OptionError(
      'workdir',
      `'${workdir}' contains '${stranger}', which no overlay created; use an empty directory`,
    )
  }
  if (!names.has('work')) return names
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
  return names
}

/** Checks that nobody has claimed a directory above: a server claims the directory of all its views, and not each upper in it. */
async function needUnclaimedAbove(upper: RootDir, work: RootDir): Promise<void> {
  const above = new Map<string, string>()
  for (const [option, { path }] of [['workdir', work] as const, ['upperdir', upper] as const]) {
    for (let dir = dirname(path); dir !== '/' && dir !== '.'; dir = dirname(dir)) above.set(dir, option)
  }
  for (const [dir, option] of above) {
    if (await isClaimed(dir)) {
      throw new OptionError(
        option,
        `'${dir}' is in use by a server with all its views (EBUSY); reach the view through that server, or stop it`,
      )
    }
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
