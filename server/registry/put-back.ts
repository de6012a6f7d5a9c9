import {
  compare,
  type Difference,
  FileType,
  type Inode,
  type Name,
  OptionError,
  type Overlay,
} from '../../overlay-core/index.ts'
import { removeTree, SERVER, TreeCopier } from './copy-tree.ts'
import { liesIn, objectAt, shownPath, type ViewPath } from './view-paths.ts'

/** So many differences are put back at once; their paths are in memory. */
export const MOST = 200_000

/** What was put back. */
export interface PutBack {
  /** How many objects differed. */
  readonly count: number
  /** Where copies of what was there before are, for each path that had some; empty if they are not kept in the view. */
  readonly beside: readonly ViewPath[]
}

/** What is to be put back. */
export interface PutBackOrder {
  /** The view, which only the caller uses. */
  readonly to: Overlay
  /** What it shall be like, over some of the same layers. */
  readonly from: Overlay
  readonly paths: readonly ViewPath[]
  /** What is added to the last name of each path for what was there before; undefined if that is not kept in the view. */
  readonly asideSuffix?: string | undefined
}

/**
 * Makes `to` at some paths like `from`, in time proportional to what differs there. Files that exist in both keep their identity.
 *
 * @throws OptionError naming `PATH`: there are too many differences, or a directory above a path is none any more
 */
export async function putBack(order: PutBackOrder): Promise<PutBack> {
  return await new PuttingBack(order).run()
}

/** Whether anything differs at one of the paths. */
export async function differsAt({ to, from, paths }: PutBackOrder): Promise<boolean> {
  for await (const difference of compare(SERVER, to, from)) if (targetsOf(difference, paths).length > 0) return true
  return false
}

class PuttingBack {
  readonly #order: PutBackOrder
  readonly #copier: TreeCopier
  /** What was copied or removed with everything below it. */
  readonly #whole = new Set<string>()

  constructor(order: PutBackOrder) {
    this.#order = order
    this.#copier = new TreeCopier(order.from, order.to)
  }

  async run(): Promise<PutBack> {
    const targets = await this.#targets()
    const beside = await this.#keepBeside(targets)
    for (const target of targets) if (!isCovered(this.#whole, target)) await this.#makeEqual(target)
    return { count: targets.length, beside }
  }

  /** The paths that differ, those of directories before what is in them. */
  async #targets(): Promise<ViewPath[]> {
    const { to, from, paths } = this.#order
    const found = new Map<string, ViewPath>()
    for await (const difference of compare(SERVER, to, from)) {
      for (const target of targetsOf(difference, paths)) found.set(target.join('/'), target)
      if (found.size > MOST)
        throw new OptionError(
          'PATH',
          `more than ${MOST} objects differ there; name fewer paths, or reset the whole view`,
        )
    }
    return [...found.values()].sort((a, b) => a.length - b.length)
  }

  async #makeEqual(path: ViewPath): Promise<void> {
    const { to, from } = this.#order
    const want = await objectAt(from, path)
    if (path.length === 0) return await this.#copier.copyAttributes(from.root, to.root)
    const [above, name] = [path.slice(0, -1), path.at(-1) as Name]
    const dir = want ? await this.#directory(above) : await objectAt(to, above)
    if (dir?.type !== FileType.directory) return
    const have = await to.lookup(SERVER, dir, name)
    if (want?.type === FileType.directory && have?.type === FileType.directory)
      return await this.#copier.copyAttributes(want, have)
    const stays = want?.type === FileType.regular && have?.type === FileType.regular
    if (have && !stays) await removeTree(to, dir, name, have)
    this.#whole.add(path.join('/'))
    if (want) await this.#copier.copy(want, dir, name)
  }

  /** The directory at a path, made with those above it if they are missing. */
  async #directory(path: ViewPath): Promise<Inode> {
    const { to, from } = this.#order
    let dir = to.root
    for (const [at, name] of path.entries()) {
      const above = path.slice(0, at + 1)
      const inner = await to.lookup(SERVER, dir, name)
      const model = inner ? undefined : await objectAt(from, above)
      if (inner?.type === FileType.directory) dir = inner
      else if (model) dir = await this.#copier.makeDirectory(model, dir, name)
      else throw new OptionError('PATH', `${shownPath(above)} is no directory in the view; put that path back too`)
    }
    return dir
  }

  /** Copies what will be replaced or removed beside each path. */
  async #keepBeside(targets: readonly ViewPath[]): Promise<ViewPath[]> {
    const { to, paths, asideSuffix } = this.#order
    if (asideSuffix === undefined) return []
    const copier = new TreeCopier(to, to)
    const [kept, whole] = [new Set<ViewPath>(), new Set<string>()]
    for (const target of targets) {
      const top = paths.find((path) => path.length > 0 && liesIn(target, path))
      const had = top && (await objectAt(to, target))
      if (!had || isCovered(whole, target)) continue
      const aside = [...top.slice(0, -1), `${top.at(-1)}${asideSuffix}`]
      const dir = await this.#copiedAbove(copier, { top, aside }, target)
      const name = target.length === top.length ? (aside.at(-1) as Name) : (target.at(-1) as Name)
      const isNew = (await objectAt(this.#order.from, target)) === undefined
      kept.add(top)
      if (had.type !== FileType.directory || isNew) {
        whole.add(target.join('/'))
        await copier.copy(had, dir, name)
      } else if (!(await to.lookup(SERVER, dir, name))) await copier.makeDirectory(had, dir, name)
    }
    return [...kept].map((top) => [...top.slice(0, -1), `${top.at(-1)}${asideSuffix}`])
  }

  /** The directory beside `top` that takes what was at `target`, with copies of those in between. */
  async #copiedAbove(
    copier: TreeCopier,
    { top, aside }: { top: ViewPath; aside: ViewPath },
    target: ViewPath,
  ): Promise<Inode> {
    const { to } = this.#order
    let dir = (await objectAt(to, top.slice(0, -1))) as Inode
    for (let depth = top.length; depth < target.length; depth++) {
      const name = depth === top.length ? (aside.at(-1) as Name) : (target[depth - 1] as Name)
      const model = (await objectAt(to, target.slice(0, depth))) as Inode
      dir = (await to.lookup(SERVER, dir, name)) ?? (await copier.makeDirectory(model, dir, name))
    }
    return dir
  }
}

/** The paths at which a difference is put back: where it is, or below it if it is a directory that came or went. */
export function targetsOf({ kind, aspects, path, from }: Difference, paths: readonly ViewPath[]): ViewPath[] {
  if (kind === 'same') return []
  const holds = kind !== 'changed' || aspects.includes('type')
  return (from ? [path, from] : [path]).flatMap((at) =>
    paths.flatMap((wanted) => (liesIn(at, wanted) ? [at] : holds && liesIn(wanted, at) ? [wanted] : [])),
  )
}

/** Whether `path` is in `tops` or below one of them. */
function isCovered(tops: ReadonlySet<string>, path: ViewPath): boolean {
  return path.some((_name, at) => tops.has(path.slice(0, at + 1).join('/')))
}
