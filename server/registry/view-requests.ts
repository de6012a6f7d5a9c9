import { join } from 'node:path'
import { isErrno, nearestWord, OptionError, type QuotaLimits, type QuotaState } from '../../overlay-core/index.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'
import type { Templates } from './templates.ts'
import { readUsage } from './view-quota.ts'

/** A request of `overlayd view`. */
export interface ViewOrder {
  readonly verb: 'create' | 'list' | 'show' | 'rename' | 'remove'
  /** `TEMPLATE/NAME`; for `list` a template, or undefined for all. */
  readonly view?: string
  /** The new name, for `rename`. */
  readonly to?: string
}

/** A view as `overlayd view` shows it. */
export interface ViewDescription {
  /** `TEMPLATE/NAME`. */
  readonly path: string
  readonly template: string
  readonly name: string
  readonly id: string
  readonly uid: number
  readonly gid: number
  /** ISO 8601. */
  readonly created: string
  readonly state: 'in use' | 'open' | 'closed' | 'failed'
  readonly directory: string
  /** Why it could not be opened when that was last tried. */
  readonly failure?: string
  /** Whether it was removed and can be restored. */
  readonly trashed?: boolean
  /** Its usage and limits; only for `show`, and only with a quota. */
  readonly quota?: QuotaState & QuotaLimits
  /** Its project in the quotas of the file system, if that applies its limits; only for `show`. */
  readonly project?: number
  /** The usage and limits of its user in all views; only for `show`, and only if there are limits. */
  readonly user?: QuotaState & QuotaLimits
}

/** Executes requests of `overlayd view`. `removed` is told the id of each view that was removed. @throws OptionError naming `view` */
export async function executeOrder(
  templates: Templates,
  { verb, view = '', to = '' }: ViewOrder,
  removed: (id: string) => Promise<void>,
): Promise<ViewDescription[]> {
  if (verb === 'list') return list(templates, view)
  const { template, name } = splitPath(templates, view)
  if (verb === 'create') return [describeView(template, await template.create(name))]
  const found = template.byName(name)
  if (found === undefined) throw unknownView(template, name)
  if (verb === 'rename') await template.rename(found, to)
  const described = describeView(template, found)
  if (verb === 'remove') {
    await template.remove(found)
    await removed(found.record.id)
    if (template.settings.trashMs) return [{ ...described, trashed: true }]
  }
  return verb === 'show'
    ? [{ ...described, ...(await quotaOf(templates, template, found)), ...(await userOf(templates, template, found)) }]
    : [described]
}

async function userOf(
  { users }: Templates,
  { settings }: Template,
  { record }: TemplateView,
): Promise<Pick<ViewDescription, 'user'>> {
  if (!users.isOn || settings.kind !== 'per-user') return {}
  return { user: { ...(await users.stateOf(record.name)), ...(await users.limitsOf(record.name)) } }
}

async function quotaOf(
  { ownLimits }: Templates,
  { name, settings }: Template,
  view: TemplateView,
): Promise<Pick<ViewDescription, 'quota' | 'project'>> {
  const limits = ownLimits.of(name, view.record.id) ?? settings.quota
  if (limits === undefined) return {}
  if (settings.quotaBy === 'filesystem') return await projectQuotaOf(limits, view)
  const known = view.quota?.state ?? (await readUsage(join(settings.directory, view.record.id)))
  const { bytes = 0, files = 0, bytesAboveSinceMs, filesAboveSinceMs } = known ?? {}
  return { quota: { bytes, files, bytesAboveSinceMs, filesAboveSinceMs, ...limits } }
}

/** What the file system counts. Since when a soft limit is exceeded is known to it alone. */
async function projectQuotaOf(
  { hardBytes, softBytes, hardFiles, softFiles }: QuotaLimits,
  view: TemplateView,
): Promise<Pick<ViewDescription, 'quota' | 'project'>> {
  const limits = { hardBytes, softBytes, hardFiles, softFiles }
  try {
    const project = await view.project()
    if (project === undefined) return { quota: { bytes: 0, files: 0, ...limits } }
    const { bytes, files } = await project.usage()
    return { quota: { bytes, files, ...limits }, project: project.id }
  } catch (error) {
    // The failure of the view says what is wrong with its directory.
    if (!isErrno(error)) throw error
    return {}
  }
}

function list(templates: Templates, name: string): ViewDescription[] {
  const chosen = name === '' ? [...templates.list()] : [templateOf(templates, name)]
  return chosen.flatMap((template) => [...template.list()].map((view) => describeView(template, view)))
}

/** The template and the name in it; names may contain no slash, so the first one separates them. */
export function splitPath(templates: Templates, path: string): { template: Template; name: string } {
  const at = path.indexOf('/')
  if (at < 0) throw new OptionError('view', `${JSON.stringify(path)} is not the path of a view; use TEMPLATE/NAME`)
  return { template: templateOf(templates, path.slice(0, at)), name: path.slice(at + 1) }
}

function templateOf(templates: Templates, name: string): Template {
  const template = templates.get(name)
  if (template !== undefined) return template
  const names = [...templates.list()].map((each) => each.name)
  const near = nearestWord(name, names) ?? names.join(', ')
  const mend =
    near === ''
      ? 'no view of the file has upper = "per-user", "per-machine" or "ephemeral"'
      : `the templates are: ${near}`
  throw new OptionError('view', `there is no template ${JSON.stringify(name)}; ${mend}`)
}

export function unknownView(template: Template, name: string): OptionError {
  const near = nearestWord(
    name,
    [...template.list()].map(({ record }) => record.name),
  )
  const mend = near === undefined ? `see overlayd view list ${template.name}` : `did you mean ${near}?`
  return new OptionError('view', `there is no view ${template.name}/${name}; ${mend}`)
}

export function describeView({ name: template, settings }: Template, view: TemplateView): ViewDescription {
  const { id, name, uid, gid, createdMs } = view.record
  const { failure } = view
  const open = view.overlay !== undefined
  const state = view.uses > 0 ? 'in use' : open ? 'open' : failure === undefined ? 'closed' : 'failed'
  return {
    ...{ path: `${template}/${name}`, template, name, id, uid, gid, state },
    created: new Date(createdMs).toISOString(),
    directory: join(settings.directory, id),
    ...(failure !== undefined && { failure }),
  }
}
