import { OptionError, STRATEGIES, type Strategy } from '../../overlay-core/index.ts'
import { listType, textType } from './value-types.ts'

/** What happens at which paths where a user and a new version of a layer have both changed something. */
export interface ConflictRule {
  readonly strategy: Strategy
  /** A path or name, with `*`, `?` and `**`; undefined: all paths. */
  readonly pattern: string | undefined
}

/** Reads `STRATEGY` or `STRATEGY PATTERN`. @throws OptionError */
export function parseConflictRule(text: string): ConflictRule {
  const [, word = '', pattern] = /^\s*(\S+)(?:\s+(.*\S))?\s*$/s.exec(text) ?? []
  const strategy = STRATEGIES.find((each) => each === word)
  if (strategy === undefined) throw OptionError.unknown(word, STRATEGIES, 'strategy')
  if (strategy === 'replace' && pattern === undefined)
    throw new OptionError(
      word,
      'needs a path: without one nothing of a user would be kept; say for example "replace /var/lib/dpkg"',
    )
  return { strategy, pattern }
}

/** A list of rules, of which the first that matches counts. */
export const CONFLICT_RULES = listType(textType('"STRATEGY PATTERN"', 'a strategy and a pattern', parseConflictRule))
