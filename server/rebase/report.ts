import { type Difference, FileType, isConflict, type PathOutcome } from '../../overlay-core/index.ts'
import type { LayerVersions } from '../registry/layer-versions.ts'

/** The outcomes that are counted. */
export const OUTCOMES = ['untouched', 'identical', 'stale', 'masked', 'type', 'moved', 'replaced'] as const

/** How many paths have which outcome. */
export type OutcomeCounts = Readonly<Record<(typeof OUTCOMES)[number], number>>

/** A path that user and base have both changed, or that follows the base. Paths have no slash at either end; bytes that are not UTF-8 are replaced. */
export interface ReportedPath {
  readonly path: string
  readonly outcome: Exclude<PathOutcome['outcome'], 'untouched' | 'identical'>
  /** What the user has done. */
  readonly mine: 'added' | 'changed' | 'removed' | 'moved'
  /** What the new base has done. */
  readonly base: PathOutcome['base']
  readonly strategy: NonNullable<PathOutcome['strategy']>
  /** Where the version of the base is, or will be, if it was put beside. */
  readonly beside?: string
  readonly directory: boolean
}

/** What comes, or came, of a view on a new base. */
export interface RebaseReport {
  /** `TEMPLATE/NAME`. */
  readonly view: string
  /**
   * `possible`: it can be done; nothing was changed. `rebased`: it is done. `planned`: it is done when the view is opened next. `current`: it lies on the newest versions
   * already. `refused`: a path has the strategy `fail`. `failed`: `error` says why; the view is as before.
   */
  readonly state: 'possible' | 'rebased' | 'planned' | 'current' | 'refused' | 'failed'
  readonly from: LayerVersions
  readonly to: LayerVersions
  readonly counts: OutcomeCounts
  /** The paths on which both sides differ, sorted; at most `MOST_REPORTED`. */
  readonly conflicts: readonly ReportedPath[]
  /** How many conflicts there are in all. */
  readonly conflictCount: number
  /** The snapshot with the old base and the old changes. */
  readonly aside?: string
  readonly error?: string
}

/** More paths are not listed. */
export const MOST_REPORTED = 1000

export const NO_COUNTS: OutcomeCounts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as OutcomeCounts

/** What the outcomes of a view are, for people and programs. */
export function summaryOf(
  outcomes: readonly PathOutcome[],
  besideOf: (outcome: PathOutcome) => readonly string[] | undefined = () => undefined,
): Pick<RebaseReport, 'counts' | 'conflicts' | 'conflictCount'> {
  const counts: Record<string, number> = { ...NO_COUNTS }
  const told: PathOutcome[] = []
  for (const outcome of outcomes) {
    if (isWorthCounting(outcome)) counts[outcome.outcome] = (counts[outcome.outcome] ?? 0) + 1
    if (isConflict(outcome) || outcome.outcome === 'replaced') told.push(outcome)
  }
  const conflicts = told.slice(0, MOST_REPORTED).map((outcome) => reported(outcome, besideOf(outcome)))
  conflicts.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  return { counts: counts as OutcomeCounts, conflicts, conflictCount: told.length }
}

/** A directory that is only there for what it contains is nothing that the user has changed. */
function isWorthCounting({ difference, outcome }: PathOutcome): boolean {
  return difference.kind !== 'same' || difference.type !== FileType.directory || outcome !== 'untouched'
}

function reported(outcome: PathOutcome, beside: readonly string[] | undefined): ReportedPath {
  const { difference, base, strategy = 'mine' } = outcome
  return {
    path: shown(difference.path),
    outcome: outcome.outcome as ReportedPath['outcome'],
    mine: doneTo(difference),
    ...{ base, strategy, directory: difference.type === FileType.directory },
    ...(beside && { beside: shown(beside) }),
  }
}

function doneTo({ kind, from }: Difference): ReportedPath['mine'] {
  if (kind === 'removed') return from === undefined ? 'removed' : 'moved'
  if (kind === 'renamed') return 'moved'
  return kind === 'added' ? 'added' : 'changed'
}

/** A path of names in latin1 as text. */
function shown(names: readonly string[]): string {
  return Buffer.from(names.join('/'), 'latin1').toString('utf8')
}
