import { FileType, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { decodeIdentity } from '../layer/identity.ts'
import { XattrNames } from '../layer/overlay-xattrs.ts'
import { isWhiteoutDevice } from '../layer/whiteout.ts'
import { isMarker } from '../sidecar/protocol-data-store.ts'
import { mknodAt, readdirFd, renameAt, unlinkAt } from '../sys/dir.ts'
import { S_IFCHR } from '../sys/flags.ts'
import { ABSENT, closeSync, openRoot } from '../sys/open.ts'
import { type Stat, statxAt, statxFd } from '../sys/stat.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../sys/xattr.ts'
import { saysFiles } from '../whiteouts/format-record.ts'
import { CheckedLowers, type LowerDirectory, openInside } from './check-layers.ts'
import { type CheckedObject, checkMarks } from './check-object.ts'
import { checkWorkdir } from './check-workdir.ts'
import { type Finding, finding, type Report } from './finding.ts'

/** What is to be checked. */
export interface CheckedPaths {
  readonly upper: string
  /** Without it, its index and what is stored in it are not checked. */
  readonly workdir: string | undefined
  /** Topmost first. Without any, what needs them is not checked: whiteouts and redirects. */
  readonly lowers: readonly string[]
  /** Whether marks are `user.overlay.*`, as without root. */
  readonly userxattr: boolean
}

/** Gets what an upper uses of a quota (`Quota`): the sizes of its files, and the number of objects. */
export interface CheckedUsage {
  bytes: number
  files: number
}

/** The beginning of names of whiteouts as files. */
const WHITEOUT = '.wh.'
/** The beginning of names that mark their directory. */
const WHITEOUT_META = '.wh..wh.'

/**
 * Checks an upper that no overlay uses: the marks of all objects, what they refer to, and what the workdir keeps about them. Changes nothing; `Finding.fix` repairs, and can be called until the next finding is asked for. It reads uppers of overlayd,
 * of the kernel and of fuse-overlayfs.
 *
 * @throws OverlayError a directory cannot be read
 */
export async function* checkUpper(paths: CheckedPaths, usage?: CheckedUsage): AsyncGenerator<Finding> {
  const fds: number[] = []
  const open = async (path: string) => {
    const fd = await openRoot(path)
    fds.push(fd)
    return fd
  }
  try {
    const upperFd = await open(paths.upper)
    const lowerFds: number[] = []
    for (const path of paths.lowers) lowerFds.push(await open(path))
    const names = new XattrNames(paths.userxattr)
    const workdirFd = paths.workdir === undefined ? undefined : await open(paths.workdir)
    const check = new UpperCheck(names, new CheckedLowers(lowerFds, names.prefix), await saysFiles(upperFd))
    if (usage) check.usage = usage
    yield* check.directory({ path: [], fd: upperFd, beneath: check.lowers.roots, covered: true })
    if (workdirFd !== undefined) yield* checkWorkdir(names, workdirFd, check.known)
  } finally {
    for (const fd of fds) closeSync(fd)
  }
}

/** What a walk of the upper has learned, for the check of the workdir. */
export interface KnownObjects {
  /** Markers of protocol data in the workdir, as `SLOT.ID`, with an object that has each. */
  readonly notes: Map<string, { readonly attr: string; readonly path: readonly Name[] }>
}

/** A directory of the upper that is checked. */
interface UpperDirectory {
  readonly path: readonly Name[]
  readonly fd: number
  /** The lower directories that merge with it. */
  readonly beneath: readonly LowerDirectory[]
  /** Whether `beneath` is known: the lowers were given, and no mark on the way is wrong. */
  readonly covered: boolean
}

class UpperCheck {
  readonly lowers: CheckedLowers
  usage: CheckedUsage | undefined
  readonly known: KnownObjects = { notes: new Map() }
  readonly #names: XattrNames
  readonly #asFiles: boolean
  /** Files with several names that were counted. */
  readonly #counted = new Set<number>()
  /** Which directory merges with each lower one. */
  readonly #merged = new Map<string, readonly Name[]>()
  /** Which object has each identity. */
  readonly #identities = new Map<string, { readonly ino: number; readonly path: readonly Name[] }>()

  constructor(names: XattrNames, lowers: CheckedLowers, asFiles: boolean) {
    this.#names = names
    this.lowers = lowers
    this.#asFiles = asFiles
  }

  get #hasLowers(): boolean {
    return this.lowers.roots.length > 0
  }

  async *directory(dir: UpperDirectory): AsyncGenerator<Finding> {
    const xattrs = new Set(await listXattr(dir.fd, ''))
    const impure = xattrs.has(this.#names.impure)
    const opaque = Buffer.from((await getXattr(dir.fd, '', this.#names.opaque)) ?? []).toString('latin1')
    const entries = await readdirFd(dir.fd)
    const present = new Set(entries.map(({ name }) => name))
    let unmarked: readonly Name[] | undefined
    for (const { name } of entries) {
      if (loopBudget.spent) await loopBudget.rest()
      const path = [...dir.path, name]
      if (this.#asFiles && name.startsWith(WHITEOUT)) {
        yield* this.#whiteoutFile(dir, path, name, present)
        continue
      }
      const stat = await statxAt(dir.fd, name)
      if (isWhiteoutDevice(stat)) {
        yield* this.#whiteout(dir, path, name, name)
        continue
      }
      const marks = new Set(await listXattr(dir.fd, name))
      if (marks.has(this.#names.whiteout)) {
        yield* this.#attributeWhiteout(dir, path, name, stat, opaque)
        continue
      }
      if (!impure && (marks.has(this.#names.origin) || marks.has(this.#names.identity))) unmarked ??= path
      yield* this.#object(dir, { path, dirFd: dir.fd, name, stat, xattrs: marks })
    }
    if (unmarked !== undefined)
      yield error({
        code: 'impure-missing',
        path: dir.path,
        what: `contains copied-up objects, for example ${text(unmarked)}, but is not marked as impure, so their file ids change`,
        mend: [`set ${this.#names.impure}`, () => setXattr(dir.fd, '', this.#names.impure, Buffer.from('y'))],
      })
  }

  async *#whiteoutFile(
    dir: UpperDirectory,
    path: readonly Name[],
    name: Name,
    present: ReadonlySet<Name>,
  ): AsyncGenerator<Finding> {
    if (name.startsWith(WHITEOUT_META)) return
    const hidden = name.slice(WHITEOUT.length)
    if (present.has(hidden))
      yield warning({
        code: 'whiteout-beside-object',
        path,
        what: `would hide ${JSON.stringify(hidden)}, which is there itself`,
        mend: ['remove the whiteout', async () => void (await unlinkAt(dir.fd, name))],
      })
    else yield* this.#whiteout(dir, path, name, hidden)
  }

  async *#whiteout(dir: UpperDirectory, path: readonly Name[], name: Name, hidden: Name): AsyncGenerator<Finding> {
    if (!this.#hasLowers || !dir.covered) return
    const { type, directories } = await this.lowers.beneath(dir.beneath, hidden)
    for (const { fd } of directories) closeSync(fd)
    if (type !== undefined) return
    yield warning({
      code: 'whiteout-needless',
      path,
      what: 'hides nothing: no lower has this name here',
      mend: ['remove it', async () => void (await unlinkAt(dir.fd, name))],
    })
  }

  async *#attributeWhiteout(
    dir: UpperDirectory,
    path: readonly Name[],
    name: Name,
    { type, size }: Stat,
    opaque: string,
  ): AsyncGenerator<Finding> {
    if (type !== FileType.regular || size > 0)
      yield error({
        code: 'whiteout-malformed',
        path,
        what: 'is marked as a whiteout, but is no empty file, so it is shown',
      })
    else if (opaque !== 'x')
      yield error({
        code: 'whiteout-unseen',
        path,
        what: `is a whiteout in attribute form, but ${this.#names.opaque} of its directory is not x, so it is shown as an empty file`,
        mend: ['replace it by a whiteout device', () => replaceByDevice(dir.fd, name)],
      })
  }

  async *#object(dir: UpperDirectory, object: CheckedObject): AsyncGenerator<Finding> {
    const { findings, redirect, opaque } = await checkMarks(this.#names, object)
    yield* findings
    this.#count(object.stat)
    yield* this.#identity(object)
    await this.#remember(object)
    if (object.stat.type !== FileType.directory) {
      if (object.xattrs.has(this.#names.metacopy)) yield* this.#data(dir, object, redirect)
      return
    }
    const fd = await openInside(dir.fd, object.name)
    if (fd === ABSENT) return
    const broken = redirect === undefined && object.xattrs.has(this.#names.redirect)
    const { directories } =
      opaque || broken ? { directories: [] } : await this.lowers.beneath(dir.beneath, object.name, redirect)
    try {
      if (redirect !== undefined) yield* this.#redirect(dir, object, redirect, { opaque, directories })
      yield* this.#twice(object, directories)
      yield* this.directory({ path: object.path, fd, beneath: directories, covered: dir.covered && !broken })
    } finally {
      closeSync(fd)
      for (const lower of directories) closeSync(lower.fd)
    }
  }

  async *#redirect(
    dir: UpperDirectory,
    { path, name }: CheckedObject,
    redirect: string,
    { opaque, directories }: { readonly opaque: boolean; readonly directories: readonly LowerDirectory[] },
  ): AsyncGenerator<Finding> {
    const remove = () => removeXattr(dir.fd, name, this.#names.redirect)
    if (opaque)
      yield warning({
        code: 'redirect-opaque',
        path,
        what: `has the redirect ${JSON.stringify(redirect)}, which counts for nothing because the directory is opaque`,
        mend: ['remove the redirect', remove],
      })
    else if (this.#hasLowers && dir.covered && directories.length === 0)
      yield error({
        code: 'redirect-target-missing',
        path,
        what: `was moved from ${JSON.stringify(redirect)}, which is no directory in any lower, so it shows only what the upper has of it`,
        mend: [
          'mark it as opaque and remove the redirect, so that it stays as it is shown now whatever comes to the lowers',
          async () => {
            await setXattr(dir.fd, name, this.#names.opaque, Buffer.from('y'))
            await remove()
          },
        ],
      })
  }

  /** A lower directory that is shown at two places: after a loop, or after copies of directories with their marks. */
  async *#twice({ path }: CheckedObject, directories: readonly LowerDirectory[]): AsyncGenerator<Finding> {
    for (const { layer, fd } of directories) {
      const key = `${layer}:${statxFd(fd).ino}`
      const other = this.#merged.get(key)
      if (other === undefined) {
        this.#merged.set(key, path)
        continue
      }
      const loop = other.every((name, at) => path[at] === name) || path.every((name, at) => other[at] === name)
      yield error({
        code: loop ? 'redirect-loop' : 'redirect-twice',
        path,
        what: loop
          ? `merges with the same lower directory as ${text(other)}, of which one is inside of the other`
          : `merges with the same lower directory as ${text(other)}, so both have the same file ids`,
      })
      return
    }
  }

  async *#data(
    dir: UpperDirectory,
    { path, name }: CheckedObject,
    redirect: string | undefined,
  ): AsyncGenerator<Finding> {
    if (!this.#hasLowers || !dir.covered) return
    const { type, directories } = await this.lowers.beneath(dir.beneath, name, redirect)
    for (const { fd } of directories) closeSync(fd)
    if (type === FileType.regular) return
    yield error({
      code: 'metacopy-data-missing',
      path,
      what: `has only metadata, and no lower has its data at ${JSON.stringify(redirect ?? name)}, so it cannot be read`,
    })
  }

  async *#identity({ path, dirFd, name, stat, xattrs }: CheckedObject): AsyncGenerator<Finding> {
    if (!xattrs.has(this.#names.identity)) return
    const value = await getXattr(dirFd, name, this.#names.identity)
    const identity = value && decodeIdentity(value)
    if (!identity) return
    const key = `${identity.key}:${identity.generation}`
    const other = this.#identities.get(key)
    if (other === undefined) this.#identities.set(key, { ino: stat.ino, path })
    else if (other.ino !== stat.ino)
      yield error({
        code: 'identity-twice',
        path,
        what: `has the same identity as ${text(other.path)}, so clients take one for the other; it was copied beside the overlay`,
        mend: [
          'remove the mark here, so that this one gets another file id',
          () => removeXattr(dirFd, name, this.#names.identity),
        ],
      })
  }

  #count({ type, nlink, ino, size }: Stat): void {
    const { usage } = this
    if (usage === undefined) return
    if (type !== FileType.directory && nlink > 1) {
      if (this.#counted.has(ino)) return
      this.#counted.add(ino)
    }
    usage.files++
    if (type === FileType.regular) usage.bytes += size
  }

  /** Notes what the check of the workdir asks for. */
  async #remember({ path, dirFd, name, xattrs }: CheckedObject): Promise<void> {
    for (const attr of xattrs) {
      const slot = this.#names.slotOf(attr)
      const value = slot === undefined ? undefined : await getXattr(dirFd, name, attr)
      if (slot !== undefined && value && isMarker(value))
        this.known.notes.set(`${slot}.${Buffer.from(value.subarray(1)).toString('hex')}`, { attr, path })
    }
  }
}

async function replaceByDevice(dirFd: number, name: Name): Promise<void> {
  const temp = `.overlayd-fsck-${process.pid}`
  await mknodAt(dirFd, temp, S_IFCHR, 0, 0)
  await renameAt(dirFd, temp, dirFd, name)
}

function error(report: Omit<Report, 'severity' | 'where'>): Finding {
  return finding({ ...report, severity: 'error', where: 'upper' })
}

function warning(report: Omit<Report, 'severity' | 'where'>): Finding {
  return finding({ ...report, severity: 'warning', where: 'upper' })
}

/** A path for people. */
function text(path: readonly Name[]): string {
  return `/${Buffer.from(path.join('/'), 'latin1').toString('utf8')}`
}
