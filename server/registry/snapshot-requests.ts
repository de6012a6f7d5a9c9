import { OptionError } from '../../overlay-core/index.ts'
import { type Deduplicated, dedupe } from './dedupe.ts'
import type { Snapshot } from './layer-record.ts'
import { mergeFork } from './merge-fork.ts'
import { resetByRules, resetPaths } from './path-resets.ts'
import type { Squashed } from './squashes.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'
import type { Templates } from './templates.ts'
import { pathIn, shownPath } from './view-paths.ts'
import { splitPath, unknownView } from './view-requests.ts'

/** A request of `overlayd snapshot`, `snapshots`, `rollback`, `reset`, `restore`, `dedupe`, `fork` and `squash`. */
export interface SnapshotOrder {
  readonly verb: 'take' | 'list' | 'rollback' | 'reset' | 'restore' | 'dedupe' | 'remove' | 'fork' | 'merge' | 'squash'
  /** `TEMPLATE/NAME`; for `rollback`, `restore` and `remove` `TEMPLATE/NAME@SNAPSHOT`. */
  readonly view: string
  /** What `reset` and `restore` put back; without it, a reset takes everything back. */
  readonly paths?: readonly string[]
  /** Whether `reset` and `restore` copy what is at each path beside it. */
  readonly beside?: boolean
  /** The name of the snapshot (`take`), of the new view (`fork`), or of the view that gets the changes of a fork (`merge`). */
  readonly name?: string
  /** How long a fork exists, in ms. */
  readonly ttlMs?: number
  /** Whether a fork ends when nobody uses it. */
  readonly ephemeral?: boolean
  /** Whether a fork belongs to the owner of its source. */
  readonly sameOwner?: boolean
  /** Whether a rollback or reset lets go of what the view contains. */
  readonly drop?: boolean
}

/** A snapshot, or for `fork` the new view, as the commands show it. */
export interface SnapshotDescription {
  /** `TEMPLATE/NAME@SNAPSHOT`; of a fork or reset view `TEMPLATE/NAME`. */
  readonly path: string
  readonly name: string
  /** ISO 8601. */
  readonly created: string
  /** Whether the view lies on it: removing it frees nothing. */
  readonly inUse?: boolean
  /** Where a rollback or reset has kept what the view contained; undefined if that was let go. */
  readonly aside?: string
  /** How many objects `reset` and `restore` of paths have put back. */
  readonly count?: number
  /** Where copies of what was at the paths are, in the view. */
  readonly beside?: readonly string[]
  /** What `dedupe` has dropped. */
  readonly dropped?: Deduplicated
  /** How many layers were deleted with it. */
  readonly released?: number
  /** How many frozen layers a squashed view had and has. */
  readonly layers?: Squashed
  /** The directory of a fork. */
  readonly directory?: string
  /** The layers below the upper of a fork, topmost first, and whether their marks are `user.overlay.*`. */
  readonly lowerdir?: readonly string[]
  readonly userxattr?: boolean
  /** When a fork ends by itself, ISO 8601. */
  readonly ends?: string
}

/** Executes requests about snapshots. @throws OptionError naming `view` */
export async function executeSnapshotOrder(templates: Templates, order: SnapshotOrder): Promise<SnapshotDescription[]> {
  const { verb, view: path } = order
  const named = verb === 'rollback' || verb === 'remove' || verb === 'restore'
  const [viewPath, name] = named ? atSnapshot(path) : [path, order.name]
  const { template, name: viewName } = splitPath(templates, viewPath)
  const view = template.byName(viewName)
  if (view === undefined) throw unknownView(template, viewName)
  if (verb === 'fork') return [await fork(template, view, order)]
  if (verb === 'merge') return [await merge(templates, template, view, order.name ?? '')]
  const { snapshots } = template
  if (verb === 'squash') return [{ ...describeView(view), layers: await snapshots.squash(view) }]
  if (verb === 'dedupe') return [{ ...describeView(view), dropped: await dedupe(view, template.wallNow()) }]
  if (verb === 'restore' || (verb === 'reset' && (order.paths?.length ?? 0) > 0))
    return [await putBack(template, view, order, name)]
  if (verb === 'reset') return [await reset(template, view, order.drop === true)]
  const describe = (snapshot: Snapshot): SnapshotDescription => ({
    path: `${view.path}@${snapshot.name}`,
    name: snapshot.name,
    created: new Date(snapshot.createdMs).toISOString(),
    inUse: snapshots.isBelow(view, snapshot),
  })
  if (verb === 'list') return (view.record.snapshots ?? []).map(describe)
  if (verb === 'take') return [describe(await snapshots.take(view, name))]
  const chosen = snapshots.find(view, name ?? '')
  if (verb === 'remove') {
    const { released } = await snapshots.remove(view, chosen.name)
    return [{ ...describe(chosen), released }]
  }
  const { aside } = await snapshots.rollback(view, chosen.name, order.drop === true)
  return [{ ...describe(chosen), ...(aside && { aside: `${view.path}@${aside.name}` }) }]
}

async function reset(
  { snapshots, settings: { resetRules } }: Template,
  view: TemplateView,
  drop: boolean,
): Promise<SnapshotDescription> {
  const { aside } = resetRules
    ? await resetByRules(snapshots, view, resetRules, drop)
    : await snapshots.reset(view, drop)
  return { ...describeView(view), ...(aside && { aside: `${view.path}@${aside.name}` }) }
}

async function putBack(
  template: Template,
  view: TemplateView,
  { paths = [], beside = false, drop = false }: SnapshotOrder,
  snapshot: string | undefined,
): Promise<SnapshotDescription> {
  if (paths.length === 0) throw new OptionError('view', 'nothing is named that is to be restored; name a path')
  const nowMs = template.wallNow()
  const reset = { paths: paths.map((path) => pathIn(path, 'view')), snapshot, beside, drop, nowMs }
  const done = await resetPaths(template.snapshots, view, reset)
  return {
    ...describeView(view),
    count: done.count,
    beside: done.beside.map(shownPath),
    ...(done.aside && { aside: `${view.path}@${done.aside.name}` }),
  }
}

function describeView({ path, record: { name, createdMs } }: TemplateView): SnapshotDescription {
  return { path, name, created: new Date(createdMs).toISOString() }
}

/** Puts what was changed in a fork into the view that it was made of, or another one on the same layers. */
async function merge(
  templates: Templates,
  template: Template,
  fork: TemplateView,
  to: string,
): Promise<SnapshotDescription> {
  const { template: other, name } = splitPath(templates, to)
  const view = other === template ? template.byName(name) : undefined
  if (view === undefined) throw unknownView(template, name)
  const { count, aside } = await mergeFork(template.snapshots, view, fork)
  return { ...describeView(view), count, ...(aside && { aside: `${view.path}@${aside.name}` }) }
}

async function fork(
  template: Template,
  source: TemplateView,
  { name: to = '', ttlMs, ephemeral, sameOwner }: SnapshotOrder,
): Promise<SnapshotDescription> {
  const [first, ...rest] = to.split('/')
  // TEMPLATE/NAME means the same as NAME.
  const name = rest.length > 0 && first === template.name ? rest.join('/') : to
  const made = await template.fork(source, name, { ttlMs, ephemeral, sameOwner })
  const { endsMs, id } = made.record
  const { lowerdir, userxattr } = made.options
  return {
    ...describeView(made),
    ...{ directory: `${template.settings.directory}/${id}`, lowerdir, userxattr },
    ...(endsMs !== undefined && { ends: new Date(endsMs).toISOString() }),
  }
}

/** The view and the snapshot; names of snapshots contain no `@`, so the last one separates them. */
function atSnapshot(path: string): [view: string, snapshot: string] {
  const at = path.lastIndexOf('@')
  if (at < 0) throw new OptionError('view', `${JSON.stringify(path)} names no snapshot; use TEMPLATE/NAME@SNAPSHOT`)
  return [path.slice(0, at), path.slice(at + 1)]
}
