import { join } from 'node:path'
import { OptionError } from '../../../overlay-core/index.ts'
import { holdView } from '../../diff/held-view.ts'
import type { Template } from '../../registry/template.ts'
import type { TemplateView } from '../../registry/template-view.ts'
import { readUsage } from '../../registry/view-quota.ts'
import type { RunningServer } from '../../running-server.ts'
import { type PathUsage, UsageWalk, type WalkWatch } from './walk.ts'

/** What is wanted: the largest views, or with a view its largest paths. */
export interface UsageOrder {
  readonly template?: string
  readonly view?: string
  /** At most so many; 20 by default. */
  readonly limit?: number
  /** Walks the views whose usage is not known, because they have no quota. */
  readonly count?: boolean
}

/** What a view uses. */
export interface ViewUsage {
  readonly view: string
  readonly bytes: number
  readonly files: number
  /** The limit of bytes; absent: none. */
  readonly hardBytes?: number
  /** How much it has grown since the server first looked, and when that was; absent: not known. */
  readonly grown?: number
  readonly since?: string
}

/** The largest views or paths, the largest first. */
export interface UsageReport {
  readonly views?: readonly ViewUsage[]
  readonly paths?: readonly PathUsage[]
  /** What all of them use together. */
  readonly bytes: number
  readonly files: number
  /** Views whose usage is not known. */
  readonly unknown: number
}

const USUAL = 20

/** @throws OptionError naming `view` */
export async function usageOf(server: RunningServer, order: UsageOrder, watch: WalkWatch): Promise<UsageReport> {
  return order.view === undefined ? await largestViews(server, order, watch) : await largestPaths(server, order, watch)
}

/** Only the upper and frozen layers count: what was changed in the view. */
async function largestPaths(
  server: RunningServer,
  { view = '', limit = USUAL }: UsageOrder,
  watch: WalkWatch,
): Promise<UsageReport> {
  const held = await holdView(server, view, 'view')
  try {
    const { upperdir, lowerdir, frozen = 0 } = held.overlay.options
    const own = [...(upperdir === undefined ? [] : [upperdir]), ...lowerdir.slice(0, frozen)]
    if (own.length === 0) throw new OptionError('view', `${view} has no upper, so nothing in it was changed`)
    const walk = new UsageWalk(limit, watch)
    const total = { bytes: 0, files: 0 }
    for (const layer of own) {
      const { bytes, files } = await walk.of(layer)
      total.bytes += bytes
      total.files += files
    }
    return { ...total, paths: walk.largest, unknown: 0 }
  } finally {
    await held.release()
  }
}

async function largestViews(server: RunningServer, order: UsageOrder, watch: WalkWatch): Promise<UsageReport> {
  const { limit = USUAL, count = false } = order
  const chosen = templatesOf(server, order.template)
  const total = chosen.reduce((sum, { size }) => sum + size, 0)
  const known: ViewUsage[] = []
  const sum = { bytes: 0, files: 0, unknown: 0 }
  let done = 0
  for (const template of chosen)
    for (const view of [...template.list()]) {
      watch.signal.throwIfAborted()
      watch.progress({ text: view.path, done: done++, total })
      const used = await usedBy(template, view, count, watch)
      if (used === undefined) {
        sum.unknown++
        continue
      }
      sum.bytes += used.bytes
      sum.files += used.files
      known.push(describe(server, template, view, used))
    }
  known.sort((a, b) => b.bytes - a.bytes)
  return { ...sum, views: known.slice(0, limit) }
}

function templatesOf({ templates }: RunningServer, name: string | undefined): Template[] {
  if (name === undefined) return [...(templates?.list() ?? [])]
  const found = templates?.get(name)
  if (found !== undefined) return [found]
  throw new OptionError('template', `there is no template ${JSON.stringify(name)}; see overlayd status`)
}

async function usedBy(
  { settings }: Template,
  view: TemplateView,
  count: boolean,
  watch: WalkWatch,
): Promise<{ bytes: number; files: number } | undefined> {
  const directory = join(settings.directory, view.record.id)
  const known = view.quota?.state ?? (settings.ephemeral ? undefined : await readUsage(directory))
  if (known !== undefined) return known
  if (!count) return undefined
  return await new UsageWalk(0, { signal: watch.signal, progress: () => undefined }).of(join(directory, 'upper'))
}

function describe(
  { templates, growth }: RunningServer,
  { name, settings }: Template,
  { path, record }: TemplateView,
  { bytes, files }: { bytes: number; files: number },
): ViewUsage {
  const { hardBytes } = templates?.ownLimits.of(name, record.id) ?? settings.quota ?? {}
  const before = growth.of(record.id)
  return {
    ...{ view: path, bytes, files, ...(hardBytes !== undefined && { hardBytes }) },
    ...(before && { grown: bytes - before.bytes, since: new Date(before.atMs).toISOString() }),
  }
}
