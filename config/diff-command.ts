import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { DIFF_OPTIONS } from './schema.ts'
import { serverChoice } from './server-choice.ts'
import type { Command, DiffRequest } from './settings.ts'

const FORMS = ['stat', 'name-only', 'patch', 'json'] as const

/** Parses `overlayd diff …`. @throws OptionError */
export function parseDiff(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, DIFF_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('diff') }
  const [view, ...paths] = words
  if (view === undefined) throw new OptionError('view', 'is missing; say overlayd diff VIEW [PATH…]')
  const [form = 'short', second] = FORMS.filter((each) => values.has(`--${each}`))
  if (second !== undefined)
    throw new OptionError(`--${second}`, `cannot be combined with --${form}; remove one of them`)
  const diff: DiffRequest = {
    ...{ view, paths, form, against: values.get('--against')?.at(-1), all: values.has('--all') },
    ...serverChoice(values, environment),
  }
  return { kind: 'diff', diff }
}
