import { OptionError } from '../overlay-core/index.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { TOKEN_OPTIONS } from './schema.ts'
import { serverChoice } from './server-choice.ts'
import type { Command } from './settings.ts'

const VERBS = ['make', 'list', 'revoke'] as const
const USAGE = { make: 'make USER NAME', list: 'list [USER]', revoke: 'revoke ID' }
const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Parses `overlayd token …`. @throws OptionError */
export function parseToken([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('token') }
  const verb = VERBS.find((each) => each === word)
  if (word === undefined) throw new OptionError('token', `needs a word more; say ${VERBS.join(', ')}`)
  if (verb === undefined) throw OptionError.unknown(word, VERBS, 'word after token')
  const { values, words } = cutArguments(argv, TOKEN_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('token') }
  const [least, most] = { make: [2, 2], list: [0, 1], revoke: [1, 1] }[verb] as [number, number]
  if (words.length < least || words.length > most)
    throw new OptionError('token', `is incomplete or has too many words; say overlayd token ${USAGE[verb]}`)
  const [first, second] = words
  const last = (option: string) => values.get(option)?.at(-1)
  const token = {
    ...{ verb, user: verb === 'revoke' ? undefined : first, name: second, id: verb === 'revoke' ? first : undefined },
    ...{ view: last('--view'), path: last('--path'), mode: modeOf(values) },
    kind: values.has('--link') ? ('link' as const) : ('app' as const),
    askPassword: values.has('--password'),
    seconds: secondsOf(last('--expires')),
    json: values.has('--json'),
    ...serverChoice(values, environment),
  }
  return { kind: 'token', token }
}

function modeOf(values: Arguments['values']): string | undefined {
  const given = [['--read-only', 'read'] as const, ['--writable', 'write'] as const, ['--drop-only', 'drop'] as const]
  const [first, second] = given.filter(([option]) => values.has(option))
  if (second !== undefined)
    throw new OptionError(second[0], `cannot be combined with ${first?.[0]}; remove one of them`)
  return first?.[1]
}

function secondsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit = 's'] = /^(\d{1,9})(s|m|h|d)?$/.exec(text) ?? []
  if (count === undefined)
    throw new OptionError('--expires', `${JSON.stringify(text)} is not a time; use for example 12h or 30d`)
  return Number(count) * SECONDS[unit as keyof typeof SECONDS]
}
