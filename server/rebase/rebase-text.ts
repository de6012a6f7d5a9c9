import { pathText } from '../diff/diff-text.ts'
import type { KeptReport } from './conflict-file.ts'
import type { RebaseReport, ReportedPath } from './report.ts'

/** More paths of one view are not printed. */
const MOST_PRINTED = 20

const BASE = { same: 'not changed', changed: 'changed', added: 'added', removed: 'removed' } as const
const MINE = { added: 'added', changed: 'changed', removed: 'removed', moved: 'moved' } as const

/** What was, or would be, done with the views, for people. */
export function reportText(reports: readonly RebaseReport[], all: boolean): string {
  if (reports.length === 0) return 'there are no views\n'
  const lines = reports.map((report) => viewText(report, all))
  const count = (state: RebaseReport['state']) => reports.filter((report) => report.state === state).length
  const states = (['rebased', 'possible', 'planned', 'current', 'refused', 'failed'] as const)
    .map((state) => [count(state), STATES[state]] as const)
    .filter(([number]) => number > 0)
    .map(([number, text]) => `${number} ${text}`)
  return `${lines.join('')}${states.join(', ')}\n`
}

const STATES = {
  rebased: 'on the new version',
  possible: 'can be put on the new version',
  planned: 'get the new version when they are opened next',
  current: 'on the newest version already',
  refused: 'refused because of a conflict',
  failed: 'failed',
} as const

function viewText(report: RebaseReport, all: boolean): string {
  const { view, state, counts, conflictCount, conflicts, aside, error } = report
  if (state === 'current') return ''
  if (state === 'failed') return `${view}: failed: ${error}\n`
  const head = `${view}: ${versionsText(report)}`
  if (state === 'planned') return `${head}, when it is opened next\n`
  const changes = `${counts.untouched} kept, ${counts.identical} dropped as identical, ${conflictCount} changed on both sides`
  const kept = aside === undefined ? '' : `; before: ${aside}`
  const refused = state === 'refused' ? '; refused, because a rule says fail' : ''
  const shown = all ? conflicts : conflicts.slice(0, MOST_PRINTED)
  const more = conflictCount - shown.length
  const rest = more > 0 ? `  and ${more} more\n` : ''
  return `${head}: ${changes}${kept}${refused}\n${shown.map(conflictText).join('')}${rest}`
}

/** The conflicts of the last rebase, for the user of the view. */
export function conflictsText(report: KeptReport): string {
  const { view, at, conflicts, conflictCount, aside } = report
  const when = at.slice(0, 19).replace('T', ' ')
  const head = `${view} was put on another version at ${when} UTC: ${versionsText(report)}\n`
  const before = aside === undefined ? '' : `What it contained before is ${aside}.\n`
  if (conflictCount === 0) return `${head}Nothing was changed on both sides.\n${before}`
  const more = conflictCount - conflicts.length
  return `${head}${conflicts.map(conflictText).join('')}${more > 0 ? `  and ${more} more\n` : ''}${before}`
}

function versionsText({ from, to }: Pick<RebaseReport, 'from' | 'to'>): string {
  const changed = Object.entries(to).filter(([name, version]) => from[name] !== version)
  return changed.map(([name, version]) => `${name} ${from[name] ?? '?'} → ${version}`).join(', ')
}

function conflictText({ path, outcome, mine, base, strategy, beside, directory }: ReportedPath): string {
  const where = pathText(path, directory ? 'directory' : 'regular')
  const sides = `you ${MINE[mine]} it, the new version has ${BASE[base]} it`
  const result =
    outcome === 'replaced'
      ? 'the new version counts'
      : strategy === 'mine'
        ? 'yours counts'
        : strategy === 'theirs'
          ? 'the new version counts'
          : strategy === 'fail'
            ? 'this must be decided first'
            : beside === undefined
              ? 'both are kept'
              : `yours counts, the new version is ${pathText(beside)}`
  return `  ${outcome.padEnd(8)}  ${where}  (${outcome === 'replaced' ? result : `${sides}; ${result}`})\n`
}
