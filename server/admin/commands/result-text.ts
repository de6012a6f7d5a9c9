import type { Job } from '../api/job.ts'
import type { KickReport } from '../clients/kick.ts'
import type { LockList, LockRow } from '../clients/locks.ts'
import type { ClientRow } from '../clients/who.ts'
import type { QuotaReport } from '../usage/quota.ts'
import type { UsageReport } from '../usage/usage.ts'
import { safe, sizeText, textTable } from './text-table.ts'

/** How many names of a list are shown. */
const SHOWN = 3

function some(names: readonly string[]): string {
  const more = names.length > SHOWN ? ` +${names.length - SHOWN}` : ''
  return names.length === 0 ? '-' : `${names.slice(0, SHOWN).map(safe).join(', ')}${more}`
}

/** The clients, one on a line. */
export function whoText(clients: readonly ClientRow[]): string {
  if (clients.length === 0) return 'no client was seen\n'
  const rows = clients.map((each) => [
    ...[each.door, each.address, some(each.users), some(each.views), String(each.connections), String(each.locks)],
    timeText(each.lastSeen),
  ])
  return textTable([['DOOR', 'CLIENT', 'USERS', 'VIEWS', 'CONNECTIONS', 'LOCKS', 'LAST SEEN'], ...rows])
}

export function kickText({ connections, locks, sessions }: KickReport): string {
  return `ended ${connections} connections, ${locks} locks and ${sessions} sessions; they may come back\n`
}

/** The locks, one on a line. */
export function locksText({ locks, more }: LockList): string {
  if (locks.length === 0) return 'there are no locks\n'
  const table = textTable([['DOOR', 'KIND', 'VIEW', 'WHAT', 'WHO', 'ID'], ...locks.map(lockRow)])
  return more ? `${table}there are more; add --view, --client or --user, or raise --limit\n` : table
}

function lockRow(lock: LockRow): string[] {
  const what = lock.door === 'webdav' ? `/${lock.path}${lock.deep ? '/…' : ''}` : `inode ${lock.file}${rangeText(lock)}`
  const who = lock.user ?? [lock.client, lock.clientName].filter((part) => part !== undefined).join(' ')
  return [lock.door, lock.kind, safe(lock.view ?? '-'), safe(what), safe(who), lock.id]
}

function rangeText({ start = '0', end }: LockRow): string {
  return start === '0' && end === undefined ? '' : ` bytes ${start}–${end ?? ''}`
}

export function brokenText(lock: LockRow): string {
  const [, kind, view, what, who] = lockRow(lock)
  return `ended the ${kind} lock of ${who} on ${what} in ${view}\n`
}

/** Usage and limits of a view or user. */
export function quotaText(report: QuotaReport): string {
  const { bytes, files, hardBytes, softBytes, hardFiles, softFiles } = report
  const limits = (soft: string | undefined, hard: string | undefined, since: string | undefined) =>
    [
      ...(soft === undefined ? [] : [`soft limit ${soft}`]),
      ...(hard === undefined ? [] : [`limit ${hard}`]),
      ...(since === undefined ? [] : [`above the soft limit since ${since}`]),
    ].join(', ') || 'no limit'
  const size = (value: number | undefined) => (value === undefined ? undefined : sizeText(value))
  const number = (value: number | undefined) => (value === undefined ? undefined : String(value))
  const whose = report.view ?? `user ${report.user}`
  const source = report.view === undefined ? '' : report.own ? ' (limits of its own)' : ' (limits of its template)'
  return `${safe(whose)}${source}
bytes  ${sizeText(bytes)}, ${limits(size(softBytes), size(hardBytes), report.bytesAboveSince)}
files  ${files}, ${limits(number(softFiles), number(hardFiles), report.filesAboveSince)}
`
}

/** The largest views or paths. */
export function usageText({ views, paths, bytes, files, unknown }: UsageReport): string {
  const rows =
    views?.map(({ view, bytes, files, hardBytes, grown }) => [
      ...[sizeText(bytes), String(files), hardBytes === undefined ? '-' : `${Math.round((bytes / hardBytes) * 100)} %`],
      ...[grown === undefined ? '-' : `${grown >= 0 ? '+' : ''}${sizeText(grown)}`, safe(view)],
    ]) ??
    paths?.map(({ path, kind, bytes, files }) => [
      sizeText(bytes),
      String(files),
      safe(kind === 'directory' ? `${path}/` : path),
    ]) ??
    []
  const heading = views === undefined ? ['BYTES', 'FILES', 'PATH'] : ['BYTES', 'FILES', 'OF LIMIT', 'GROWN', 'VIEW']
  const left =
    unknown === 0 ? '' : `; ${unknown} views have no quota, so their usage is not known: add --count to walk them`
  return `${rows.length === 0 ? '' : textTable([heading, ...rows])}${sizeText(bytes)} in ${files} files${left}\n`
}

/** Jobs, one on a line. */
export function jobsText(jobs: readonly Job[]): string {
  if (jobs.length === 0) return 'there are no jobs\n'
  const rows = jobs.map((job) => [
    ...[job.id, job.verb, job.cancelling && job.state === 'running' ? 'cancelling' : job.state],
    ...[timeText(job.started), job.user ?? '-', safe(job.error?.message ?? progressText(job))],
  ])
  return textTable([['ID', 'VERB', 'STATE', 'BEGUN', 'USER', 'HOW FAR'], ...rows])
}

/** How far a job has come. */
export function progressText({ progress }: Pick<Job, 'progress'>): string {
  if (progress === undefined) return ''
  const { text = '', done, total } = progress
  const part = done === undefined ? '' : total === undefined ? `${done}` : `${done} of ${total}`
  return [part, text].filter((each) => each !== '').join(', ')
}

function timeText(iso: string): string {
  return iso.slice(0, 19).replace('T', ' ')
}
