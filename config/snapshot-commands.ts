import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { serverChoice } from './server-choice.ts'
import type { Command, SnapshotRequest } from './settings.ts'
import { SNAPSHOT_OPTIONS } from './snapshot-options.ts'

type Verb = SnapshotRequest['verb']

/** How each command is written, for messages. */
const USAGE: Readonly<Record<Verb, string>> = {
  take: 'overlayd snapshot TEMPLATE/NAME [SNAPSHOT]',
  list: 'overlayd snapshots TEMPLATE/NAME',
  rollback: 'overlayd rollback TEMPLATE/NAME@SNAPSHOT',
  reset: 'overlayd reset TEMPLATE/NAME',
  remove: 'overlayd snapshot remove TEMPLATE/NAME@SNAPSHOT',
  fork: 'overlayd fork TEMPLATE/NAME NEW',
  squash: 'overlayd squash TEMPLATE/NAME',
}

/** Parses `snapshot`, `snapshots`, `rollback`, `reset`, `fork` and `squash`; undefined for other commands. @throws OptionError */
export function parseSnapshotCommand(argv: readonly string[], environment: Environment): Command | undefined {
  const [command = '', ...rest] = argv
  if (command === 'snapshots') return parse('list', 'snapshots', rest, environment)
  if (command === 'rollback' || command === 'reset' || command === 'fork' || command === 'squash')
    return parse(command, command, rest, environment)
  if (command !== 'snapshot') return undefined
  // A view has a slash in its path.
  if (rest[0] === 'remove') return parse('remove', 'snapshot remove', rest.slice(1), environment)
  return parse('take', 'snapshot', rest, environment)
}

function parse(verb: Verb, command: string, argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, SNAPSHOT_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('snapshot') }
  const [view, ...more] = words
  if (view === undefined) throw new OptionError(command, `needs a view; say ${USAGE[verb]}`)
  const [name] = verb === 'take' || verb === 'fork' ? more.splice(0, 1) : []
  if (verb === 'fork' && name === undefined)
    throw new OptionError(command, `needs the name of the new view; say ${USAGE.fork}`)
  if (more.length > 0)
    throw new OptionError(command, `takes no further word, but got ${JSON.stringify(more[0])}; say ${USAGE[verb]}`)
  const drop = values.has('--drop')
  if (drop && verb !== 'rollback' && verb !== 'reset')
    throw new OptionError('--drop', `goes with rollback and reset; say ${USAGE.rollback} --drop`)
  const [yes, json] = [values.has('--yes'), values.has('--json')]
  return { kind: 'snapshot', snapshot: { verb, view, name, drop, yes, json, ...serverChoice(values, environment) } }
}
