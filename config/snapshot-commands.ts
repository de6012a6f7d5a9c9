import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { serverChoice } from './server-choice.ts'
import type { Command } from './settings.ts'
import { SNAPSHOT_OPTIONS } from './snapshot-options.ts'
import type { SnapshotRequest } from './snapshot-settings.ts'

type Verb = SnapshotRequest['verb']

/** How each command is written, for messages. */
const USAGE: Readonly<Record<Verb, string>> = {
  take: 'overlayd snapshot TEMPLATE/NAME [SNAPSHOT]',
  list: 'overlayd snapshots TEMPLATE/NAME',
  rollback: 'overlayd rollback TEMPLATE/NAME@SNAPSHOT',
  reset: 'overlayd reset TEMPLATE/NAME [PATH…]',
  restore: 'overlayd restore TEMPLATE/NAME@SNAPSHOT PATH…',
  dedupe: 'overlayd dedupe TEMPLATE/NAME',
  remove: 'overlayd snapshot remove TEMPLATE/NAME@SNAPSHOT',
  fork: 'overlayd fork TEMPLATE/NAME NEW',
  squash: 'overlayd squash TEMPLATE/NAME',
}

/** Parses `snapshot`, `snapshots`, `rollback`, `reset`, `restore`, `dedupe`, `fork` and `squash`; undefined for other commands. @throws OptionError */
export function parseSnapshotCommand(argv: readonly string[], environment: Environment): Command | undefined {
  const [command = '', ...rest] = argv
  if (command === 'snapshots') return parse('list', 'snapshots', rest, environment)
  if (isVerb(command)) return parse(command, command, rest, environment)
  if (command !== 'snapshot') return undefined
  // A view has a slash in its path.
  if (rest[0] === 'remove') return parse('remove', 'snapshot remove', rest.slice(1), environment)
  return parse('take', 'snapshot', rest, environment)
}

function isVerb(command: string): command is 'rollback' | 'reset' | 'restore' | 'dedupe' | 'fork' | 'squash' {
  return ['rollback', 'reset', 'restore', 'dedupe', 'fork', 'squash'].includes(command)
}

function parse(verb: Verb, command: string, argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, SNAPSHOT_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('snapshot') }
  const [view, ...more] = words
  if (view === undefined) throw new OptionError(command, `needs a view; say ${USAGE[verb]}`)
  const [name] = verb === 'take' || verb === 'fork' ? more.splice(0, 1) : []
  if (verb === 'fork' && name === undefined)
    throw new OptionError(command, `needs the name of the new view; say ${USAGE.fork}`)
  const paths = verb === 'reset' || verb === 'restore' ? more.splice(0) : []
  if (verb === 'restore' && paths.length === 0)
    throw new OptionError(command, `needs the paths to put back; say ${USAGE.restore}`)
  if (more.length > 0)
    throw new OptionError(command, `takes no further word, but got ${JSON.stringify(more[0])}; say ${USAGE[verb]}`)
  const drop = values.has('--drop')
  if (drop && verb !== 'rollback' && verb !== 'reset' && verb !== 'restore')
    throw new OptionError('--drop', `goes with rollback, reset and restore; say ${USAGE.rollback} --drop`)
  const beside = values.has('--aside')
  if (beside && paths.length === 0)
    throw new OptionError('--aside', `goes with paths of reset and restore; say ${USAGE.reset} --aside`)
  const ttlMs = ttlIn(values.get('--ttl')?.at(-1))
  const ephemeral = values.has('--ephemeral')
  if (verb !== 'fork' && (ephemeral || ttlMs !== undefined))
    throw new OptionError(ephemeral ? '--ephemeral' : '--ttl', `goes with fork; say ${USAGE.fork} --ttl 2h`)
  const [yes, json] = [values.has('--yes'), values.has('--json')]
  return {
    kind: 'snapshot',
    snapshot: {
      verb,
      view,
      name,
      paths,
      beside,
      ttlMs,
      ephemeral,
      drop,
      yes,
      json,
      ...serverChoice(values, environment),
    },
  }
}

const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A time such as `2h`, in ms. @throws OptionError */
function ttlIn(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit] = /^([1-9]\d{0,4})(m|h|d)$/.exec(text) ?? []
  if (count === undefined)
    throw new OptionError('--ttl', `${JSON.stringify(text)} is not a time; use for example 30m, 2h or 7d`)
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS]
}
