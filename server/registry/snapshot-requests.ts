import { OptionError } from '../../overlay-core/index.ts'
import type { Snapshot } from './layer-record.ts'
import type { Snapshots } from './snapshots.ts'
import type { Squashed } from './squashes.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'
import type { Templates } from './templates.ts'
import { splitPath, unknownView } from './view-requests.ts'

/** A request of `overlayd snapshot`, `snapshots`, `rollback`, `reset`, `fork` and `squash`. */
export interface SnapshotOrder {
  readonly verb: 'take' | 'list' | 'rollback' | 'reset' | 'remove' | 'fork' | 'squash'
  /** `TEMPLATE/NAME`; for `rollback` and `remove` `TEMPLATE/NAME@SNAPSHOT`. */
  readonly view: string
  /** The name of the snapshot (`take`), or of the new view (`fork`). */
  readonly name?: string
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
  /** How many layers were deleted with it. */
  readonly released?: number
  /** How many frozen layers a squashed view had and has. */
  readonly layers?: Squashed
  /** The directory of a fork. */
  readonly directory?: string
}

/** Executes requests about snapshots. @throws OptionError naming `view` */
export async function executeSnapshotOrder(templates: Templates, order: SnapshotOrder): Promise<SnapshotDescription[]> {
  const { verb, view: path } = order
  const named = verb === 'rollback' || verb === 'remove'
  const [viewPath, name] = named ? atSnapshot(path) : [path, order.name]
  const { template, name: viewName } = splitPath(templates, viewPath)
  const view = template.byName(viewName)
  if (view === undefined) throw unknownView(template, viewName)
  if (verb === 'fork') return [await fork(template, view, order.name ?? '')]
  const { snapshots } = template
  if (verb === 'squash') return [{ ...aboutView(view), layers: await snapshots.squash(view) }]
  if (verb === 'reset') return [await reset(snapshots, view, order.drop === true)]
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

async function reset(snapshots: Snapshots, view: TemplateView, drop: boolean): Promise<SnapshotDescription> {
  const { aside } = await snapshots.reset(view, drop)
  return { ...aboutView(view), ...(aside && { aside: `${view.path}@${aside.name}` }) }
}

function aboutView({ path, record: { name, createdMs } }: TemplateView): SnapshotDescription {
  return { path, name, created: new Date(createdMs).toISOString() }
}

async function fork(template: Template, source: TemplateView, to: string): Promise<SnapshotDescription> {
  const [first, ...rest] = to.split('/')
  // TEMPLATE/NAME means the same as NAME.
  const name = rest.length > 0 && first === template.name ? rest.join('/') : to
  const { record, path } = await template.fork(source, name)
  const directory = `${template.settings.directory}/${record.id}`
  return { path, name: record.name, created: new Date(record.createdMs).toISOString(), directory }
}

/** The view and the snapshot; names of snapshots contain no `@`, so the last one separates them. */
function atSnapshot(path: string): [view: string, snapshot: string] {
  const at = path.lastIndexOf('@')
  if (at < 0) throw new OptionError('view', `${JSON.stringify(path)} names no snapshot; use TEMPLATE/NAME@SNAPSHOT`)
  return [path.slice(0, at), path.slice(at + 1)]
}
