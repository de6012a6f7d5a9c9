import type { Logger } from 'pino'
import { OptionError } from '../../overlay-core/index.ts'
import type { Template } from '../registry/template.ts'
import type { TemplateView } from '../registry/template-view.ts'
import type { Templates } from '../registry/templates.ts'
import { splitPath, unknownView } from '../registry/view-requests.ts'
import type { BasePairs } from './base-pairs.ts'
import type { KeptReport } from './conflict-file.ts'
import { NO_COUNTS, type RebaseReport } from './report.ts'

/** A request of `overlayd rebase`. */
export interface RebaseOrder {
  /** `TEMPLATE/NAME`, or `TEMPLATE` for all of its views. */
  readonly views: readonly string[]
  /** Whether only the outcomes are computed. */
  readonly dryRun?: boolean
  /** Whether it is done when a view is opened next, and not now. */
  readonly atNextOpen?: boolean
}

/** The requests of `overlayd rebase` and `conflicts`. @throws OptionError naming `view` */
export interface RebaseRequests {
  rebase(order: RebaseOrder, watcher?: RebaseWatcher): Promise<readonly RebaseReport[]>
  conflicts(view: string): Promise<KeptReport>
}

/** The requests about the views of a server. */
export function rebaseRequests(templates: Templates | undefined, log: Logger): RebaseRequests {
  return {
    rebase: async (order, watcher) => {
      if (templates === undefined) return []
      const reports = await executeRebaseOrder(templates, order, watcher)
      const done = reports.slice(0, MOST_LOGGED).map(({ view, state, to }) => ({ view, state, to }))
      if (order.dryRun !== true) log.info({ ...order, count: reports.length, done }, 'views were put on other versions')
      return reports
    },
    conflicts: async (view) => {
      if (templates === undefined)
        throw new OptionError('view', 'the server has no views of users; see overlayd status')
      return await lastConflicts(templates, view)
    },
  }
}

/** How a long order is followed. */
export interface RebaseWatcher {
  /** Aborted if no further view shall be begun. */
  readonly signal?: AbortSignal
  readonly progress?: (progress: { readonly text: string; readonly done: number; readonly total: number }) => void
}

/** More views are not named in the log. */
const MOST_LOGGED = 20
/** Views that are worked on at the same time. */
const AT_ONCE = 4

/**
 * Puts views on the newest versions of the layers of their templates, or tells what would come of that. A view that cannot be put there stays as it is, and the
 * others go on; its report says why.
 *
 * @throws OptionError naming `view`: there is no such view; nothing has changed
 */
export async function executeRebaseOrder(
  templates: Templates,
  order: RebaseOrder,
  { signal, progress }: RebaseWatcher = {},
): Promise<RebaseReport[]> {
  const wanted = order.views.flatMap((path) => viewsAt(templates, path))
  const bases = new Map<Template, BasePairs>()
  const reports: (RebaseReport | undefined)[] = wanted.map(() => undefined)
  let next = 0
  let done = 0
  const work = async () => {
    while (next < wanted.length && signal?.aborted !== true) {
      const at = next++
      const { template, view } = wanted[at] as Wanted
      const pairs = bases.get(template) ?? template.rebases.bases()
      bases.set(template, pairs)
      reports[at] = await one(template, view, order, pairs)
      progress?.({ text: view.path, done: ++done, total: wanted.length })
    }
  }
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  } finally {
    for (const pairs of bases.values()) await pairs.close()
  }
  return reports.filter((report) => report !== undefined)
}

/** The report about the last rebase of a view, for its user. @throws OptionError naming `view`: there is no such view, or it was never put on another version */
export async function lastConflicts(templates: Templates, path: string): Promise<KeptReport> {
  const [{ template, view }] = viewsAt(templates, path) as [Wanted]
  if (!path.includes('/'))
    throw new OptionError('view', `${JSON.stringify(path)} is not the path of a view; use TEMPLATE/NAME`)
  const report = await template.rebases.lastReport(view)
  if (report === undefined)
    throw new OptionError('view', `${path} was never put on another version; see overlayd rebase ${path} --dry-run`)
  return report
}

interface Wanted {
  readonly template: Template
  readonly view: TemplateView
}

function viewsAt(templates: Templates, path: string): Wanted[] {
  const all = path.includes('/') ? undefined : templates.get(path)
  if (all !== undefined) return [...all.list()].map((view) => ({ template: all, view }))
  const { template, name } = splitPath(templates, path.includes('/') ? path : `${path}/`)
  const view = template.byName(name)
  if (view === undefined) throw unknownView(template, name)
  return [{ template, view }]
}

async function one(
  { rebases }: Template,
  view: TemplateView,
  { dryRun, atNextOpen }: RebaseOrder,
  bases: BasePairs,
): Promise<RebaseReport> {
  try {
    if (dryRun) return await rebases.report(view, bases)
    return atNextOpen ? await rebases.plan(view) : await rebases.rebase(view, bases)
  } catch (error) {
    const { versions = {} } = view.record
    const nothing = { from: versions, to: versions, counts: NO_COUNTS, conflicts: [], conflictCount: 0 }
    return { view: view.path, state: 'failed', ...nothing, error: reasonOf(error) }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof OptionError ? error.reason : (error as Error).message
}
