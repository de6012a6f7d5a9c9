import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { RUN_OPTIONS } from './run-options.ts'
import { serverChoice } from './server-choice.ts'
import type { Command } from './settings.ts'
import type { RunRequest } from './snapshot-settings.ts'

const USAGE = 'overlayd run --fork TEMPLATE/NAME [--keep NAME|--promote|--drop] -- COMMAND…'

/** Parses `run --fork VIEW -- COMMAND…`. @throws OptionError */
export function parseRun(argv: readonly string[], environment: Environment): Command {
  const end = argv.indexOf('--')
  const { values, words } = cutArguments(end < 0 ? argv : argv.slice(0, end), RUN_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('run') }
  const command = end < 0 ? [] : argv.slice(end + 1)
  const view = values.get('--fork')?.at(-1)
  if (view === undefined) throw new OptionError('--fork', `is missing; say ${USAGE}`)
  if (words.length > 0)
    throw new OptionError('run', `takes the command after --, but got ${JSON.stringify(words[0])}; say ${USAGE}`)
  if (command.length === 0) throw new OptionError('run', `needs a command; say ${USAGE}`)
  return { kind: 'run', run: { view, command, after: afterwards(values), ...serverChoice(values, environment) } }
}

/** What becomes of the fork; undefined: asked for. @throws OptionError more than one is said */
function afterwards(values: ReadonlyMap<string, readonly string[]>): RunRequest['after'] {
  const keep = values.get('--keep')?.at(-1)
  const said = ['--keep', '--promote', '--drop'].filter((name) => values.has(name))
  if (said.length > 1) throw new OptionError(said[1] as string, `does not go with ${said[0]}; choose one`)
  if (keep !== undefined) return { kind: 'keep', name: keep }
  if (said[0] === undefined) return undefined
  return { kind: said[0] === '--promote' ? 'promote' : 'drop' }
}
