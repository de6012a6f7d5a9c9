import { join } from 'node:path'
import { OptionError, type QuotaLimits, type QuotaState } from '../../../overlay-core/index.ts'
import { readUsage } from '../../registry/view-quota.ts'
import { splitPath, unknownView } from '../../registry/view-requests.ts'
import type { RunningServer } from '../../running-server.ts'

/** Whose quota is wanted: one of both. */
export interface QuotaOrder {
  readonly view?: string
  readonly user?: string
}

/** Other limits for a view. What is absent stays as it is; 0 takes a limit away. */
export interface SetQuotaOrder {
  readonly view: string
  readonly bytes?: number
  readonly softBytes?: number
  readonly files?: number
  readonly softFiles?: number
  /** How long a soft limit may be exceeded, in seconds. */
  readonly graceSeconds?: number
  /** Gives the view the limits of its template again. */
  readonly inherit?: boolean
}

/** What a view or user uses and may use. */
export interface QuotaReport {
  readonly view?: string
  readonly user?: string
  readonly bytes: number
  readonly files: number
  readonly hardBytes?: number
  readonly softBytes?: number
  readonly hardFiles?: number
  readonly softFiles?: number
  /** Since when a soft limit is exceeded, ISO 8601. */
  readonly bytesAboveSince?: string
  readonly filesAboveSince?: string
  /** Whether the limits are those of the view itself, or of the account of the user. */
  readonly own: boolean
}

/** @throws OptionError naming `quota` or `view` */
export async function quotaOf(server: RunningServer, { view, user }: QuotaOrder): Promise<QuotaReport> {
  if ((view === undefined) === (user === undefined))
    throw new OptionError(
      'quota',
      'needs either a view or a user; say overlayd quota show TEMPLATE/NAME, or --user NAME',
    )
  return view === undefined ? await ofUser(server, user as string) : await ofView(server, view)
}

async function ofUser({ templates }: RunningServer, user: string): Promise<QuotaReport> {
  const users = templates?.users
  if (users === undefined || !users.isOn)
    throw new OptionError('quota', 'users have no limits of their own here; add [users] to the configuration file')
  const [state, limits] = [await users.stateOf(user), await users.limitsOf(user)]
  return { user, ...describe(state, limits), own: false }
}

async function ofView(server: RunningServer, path: string): Promise<QuotaReport> {
  const { templates, template, view } = find(server, path)
  const own = templates.ownLimits.of(template.name, view.record.id)
  const limits = own ?? template.settings.quota ?? {}
  const state = view.quota?.state ?? (await readUsage(join(template.settings.directory, view.record.id)))
  return { view: view.path, ...describe(state ?? { bytes: 0, files: 0 }, limits), own: own !== undefined }
}

function find({ templates }: RunningServer, path: string) {
  if (templates === undefined) throw new OptionError('view', 'this server has no templates')
  const { template, name } = splitPath(templates, path)
  const view = template.byName(name)
  if (view === undefined) throw unknownView(template, name)
  return { templates, template, view }
}

function describe(
  { bytes, files, bytesAboveSinceMs, filesAboveSinceMs }: QuotaState,
  { hardBytes, softBytes, hardFiles, softFiles }: QuotaLimits,
): Omit<QuotaReport, 'own'> {
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())
  const optional = {
    ...{ hardBytes, softBytes, hardFiles, softFiles },
    ...{ bytesAboveSince: time(bytesAboveSinceMs), filesAboveSince: time(filesAboveSinceMs) },
  }
  const given = Object.entries(optional).filter(([, value]) => value !== undefined)
  return { bytes, files, ...Object.fromEntries(given) }
}

/** The grace period of limits that begin with soft ones: as in the configuration file. */
const GRACE_MS = 7 * 86_400_000

/** Gives a view other limits, at once and durably. @throws OptionError naming `quota` or `view`; nothing has changed */
export async function setQuota(server: RunningServer, order: SetQuotaOrder): Promise<QuotaReport> {
  const { templates, template, view } = find(server, order.view)
  const { ownLimits } = templates
  const { id } = view.record
  const before = ownLimits.of(template.name, id) ?? template.settings.quota ?? {}
  const next = order.inherit === true ? undefined : changed(before, order)
  await ownLimits.set(template.name, id, next, (each) => template.byId(each) !== undefined)
  await view.limit()
  return await ofView(server, order.view)
}

function changed(before: QuotaLimits, order: SetQuotaOrder): QuotaLimits {
  const { bytes, softBytes, files, softFiles, graceSeconds } = order
  const pick = (given: number | undefined, present: number | undefined) =>
    given === undefined ? present : given === 0 ? undefined : given
  const next = {
    hardBytes: pick(bytes, before.hardBytes),
    softBytes: pick(softBytes, before.softBytes),
    hardFiles: pick(files, before.hardFiles),
    softFiles: pick(softFiles, before.softFiles),
    graceMs: graceSeconds === undefined ? (before.graceMs ?? GRACE_MS) : graceSeconds * 1000,
  }
  for (const [soft, hard, what] of [
    [next.softBytes, next.hardBytes, 'bytes'],
    [next.softFiles, next.hardFiles, 'files'],
  ] as const)
    if (soft !== undefined && hard !== undefined && soft > hard)
      throw new OptionError('quota', `the soft limit of ${what} is above the limit; lower it, or raise the limit`)
  return next
}
