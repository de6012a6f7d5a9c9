import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { REBASE_OPTIONS } from './rebase-options.ts'
import { serverChoice } from './server-choice.ts'
import type { Command } from './settings.ts'

const USAGE = {
  rebase: 'overlayd rebase TEMPLATE/NAME… [--dry-run] [--at-next-open]',
  conflicts: 'overlayd conflicts TEMPLATE/NAME',
} as const

/** Parses `rebase` and `conflicts`; undefined for other commands. @throws OptionError */
export function parseRebaseCommand(argv: readonly string[], environment: Environment): Command | undefined {
  const [verb, ...rest] = argv
  if (verb !== 'rebase' && verb !== 'conflicts') return undefined
  const { values, words } = cutArguments(rest, REBASE_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('rebase') }
  const [view] = words
  if (view === undefined) throw new OptionError(verb, `needs a view; say ${USAGE[verb]}`)
  if (verb === 'conflicts' && words.length > 1)
    throw new OptionError(verb, `takes no further word, but got ${JSON.stringify(words[1])}; say ${USAGE[verb]}`)
  const dryRun = values.has('--dry-run')
  const atNextOpen = values.has('--at-next-open')
  if (verb === 'conflicts')
    for (const option of ['--dry-run', '--now', '--at-next-open', '--all', '--yes'])
      if (values.has(option)) throw new OptionError(option, `goes with rebase; say ${USAGE.rebase}`)
  if (atNextOpen && values.has('--now'))
    throw new OptionError('--now', 'cannot be combined with --at-next-open; remove one of them')
  if (atNextOpen && dryRun)
    throw new OptionError('--at-next-open', 'cannot be combined with --dry-run; remove one of them')
  const [all, yes, json] = [values.has('--all'), values.has('--yes'), values.has('--json')]
  return {
    kind: 'rebase',
    rebase: { verb, views: words, dryRun, atNextOpen, all, yes, json, ...serverChoice(values, environment) },
  }
}
