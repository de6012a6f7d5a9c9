import type { Name } from '../api/types.ts'
import type { Difference } from '../compare/difference.ts'

/**
 * What happens where the user and the base have changed the same path.
 *
 * - `mine`: what the user has stays.
 * - `theirs`: what the new base has is shown.
 * - `both`: what the user has stays, and what the new base has gets a name beside it.
 * - `fail`: the view is not put on the new base.
 * - `replace`: what the new base has is shown, also where it has not changed, and nothing that the user has added stays.
 */
export type Strategy = 'mine' | 'theirs' | 'both' | 'fail' | 'replace'

export const STRATEGIES: readonly Strategy[] = ['mine', 'theirs', 'both', 'fail', 'replace']

/**
 * What comes of a path that the upper, or a frozen layer, has when the base below changes.
 *
 * - `untouched`: the base has not changed it, so it stays.
 * - `identical`: it is as in the new base, or it was a copy of the old one without a change, so it is dropped.
 * - `stale`: stale shadow: the user has changed or added a file that the base has changed, added or removed as well.
 * - `masked`: masking whiteout: the user has removed, or replaced as a whole, what the base has changed.
 * - `type`: one side has a directory where the other has none.
 * - `moved`: the user has moved what the base has changed, moved or removed, or to a name that the base uses now.
 * - `replaced`: its path has the strategy `replace`.
 */
export type Outcome = 'untouched' | 'identical' | 'stale' | 'masked' | 'type' | 'moved' | 'replaced'

/** What the new base has done at a path. */
export type BaseChange = 'same' | 'changed' | 'added' | 'removed'

/** What is done for a difference on the new base. */
export type Action =
  /** Nothing: what the new base has is shown. */
  | 'drop'
  /** The name of the base is hidden. */
  | 'hide'
  /** The object of the user is put at its path; of a directory, what it contains has outcomes of its own. */
  | 'put'
  /** The user's directory hides everything that the base has at its path. */
  | 'cover'
  /** The directory of the new base is moved. */
  | 'move'
  /** The directory is put with everything that it contains, because the new base no longer has it. */
  | 'tree'

/** The outcome for one difference. */
export interface PathOutcome {
  readonly difference: Difference
  readonly outcome: Outcome
  readonly base: BaseChange
  /** Set for all outcomes but `untouched` and `identical`. */
  readonly strategy: Strategy | undefined
  readonly action: Action
  /** Whether the new base's object gets a name beside the user's. */
  readonly beside: boolean
}

/** Whether both sides have changed a path, so that a strategy decides. */
export function isConflict({ outcome }: Pick<PathOutcome, 'outcome'>): boolean {
  return outcome !== 'untouched' && outcome !== 'identical' && outcome !== 'replaced'
}

/** Chooses the strategy of a path. */
export type StrategyOf = (path: readonly Name[]) => Strategy
