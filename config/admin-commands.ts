import { OptionError } from '../overlay-core/index.ts'
import {
  JOB_OPTIONS,
  KICK_OPTIONS,
  LOCK_OPTIONS,
  QUOTA_OPTIONS,
  TOP_OPTIONS,
  USAGE_OPTIONS,
  WHO_OPTIONS,
} from './admin-options.ts'
import type { AdminOrder, AdminRequest } from './admin-request.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import type { OptionSpec } from './schema.ts'
import { serverChoice } from './server-choice.ts'
import type { Command } from './settings.ts'
import { bytesOf } from './size.ts'

type Given = (words: readonly string[], values: Arguments['values']) => AdminOrder

interface AdminCommand {
  readonly usage: string
  /** How many words may follow. */
  readonly most: number
  readonly options: readonly OptionSpec[]
  readonly order: Given
}

const COMMANDS: Readonly<Record<string, AdminCommand | Readonly<Record<string, AdminCommand>>>> = {
  who: { usage: 'who', most: 0, options: WHO_OPTIONS, order: (_, values) => ({ verb: 'who', order: chosen(values) }) },
  kick: { usage: 'kick --client ADDRESS | --user USER', most: 0, options: KICK_OPTIONS, order: kickOrder },
  lock: {
    list: { usage: 'lock list', most: 0, options: LOCK_OPTIONS, order: lockList },
    break: {
      usage: 'lock break ID',
      most: 1,
      options: LOCK_OPTIONS,
      order: ([id]) => ({ verb: 'lock break', order: { id: needed(id, 'lock', 'ID') } }),
    },
  },
  quota: {
    show: { usage: 'quota show TEMPLATE/NAME | --user USER', most: 1, options: QUOTA_OPTIONS, order: quotaShow },
    set: { usage: 'quota set TEMPLATE/NAME --bytes SIZE', most: 1, options: QUOTA_OPTIONS, order: quotaSet },
  },
  usage: { usage: 'usage [TEMPLATE | TEMPLATE/NAME]', most: 1, options: USAGE_OPTIONS, order: usageOrder },
  job: {
    list: { usage: 'job list', most: 0, options: JOB_OPTIONS, order: () => ({ verb: 'job list', order: {} }) },
    show: {
      usage: 'job show ID',
      most: 1,
      options: JOB_OPTIONS,
      order: ([id]) => ({ verb: 'job show', order: { id: needed(id, 'job', 'ID') } }),
    },
    cancel: {
      usage: 'job cancel ID',
      most: 1,
      options: JOB_OPTIONS,
      order: ([id]) => ({ verb: 'job cancel', order: { id: needed(id, 'job', 'ID') } }),
    },
  },
  top: { usage: 'top', most: 0, options: TOP_OPTIONS, order: topOrder },
}

/** Parses `who`, `kick`, `lock`, `quota`, `usage`, `job` and `top`; undefined for other commands. @throws OptionError */
export function parseAdminCommand(argv: readonly string[], environment: Environment): Command | undefined {
  const [name = '', ...rest] = argv
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (found === undefined) return undefined
  if (isCommand(found)) return parse(name, found, rest, environment)
  const [word, ...more] = rest
  const words = Object.keys(found)
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn(name) }
  if (word === undefined) throw new OptionError(name, `needs a word more; say ${words.join(', ')}`)
  const command = Object.hasOwn(found, word) ? found[word] : undefined
  if (command === undefined) throw OptionError.unknown(word, words, `word after ${name}`)
  return parse(name, command, more, environment)
}

function isCommand(found: AdminCommand | Readonly<Record<string, AdminCommand>>): found is AdminCommand {
  return 'order' in found && typeof found.order === 'function'
}

function parse(
  name: string,
  { usage, most, options, order }: AdminCommand,
  argv: readonly string[],
  environment: Environment,
): Command {
  const { values, words } = cutArguments(argv, options)
  if (values.has('--help')) return { kind: 'help', text: helpOn(name === 'top' ? 'who' : name) }
  if (words.length > most)
    throw new OptionError(name, `takes no further word, but got ${JSON.stringify(words[most])}; say overlayd ${usage}`)
  const admin: AdminRequest = {
    ...order(words, values),
    ...{ yes: values.has('--yes'), json: values.has('--json'), ...serverChoice(values, environment) },
  }
  return { kind: 'admin', admin }
}

function needed(word: string | undefined, command: string, what: string): string {
  if (word !== undefined) return word
  throw new OptionError(command, `needs the id; say overlayd ${command} … ${what}`)
}

function last(values: Arguments['values'], option: string): string | undefined {
  return values.get(option)?.at(-1)
}

function chosen(values: Arguments['values']): { view?: string; user?: string; client?: string } {
  const [view, user, client] = ['--view', '--user', '--client'].map((option) => last(values, option))
  return {
    ...(view !== undefined && { view }),
    ...(user !== undefined && { user }),
    ...(client !== undefined && { client }),
  }
}

function kickOrder(_words: readonly string[], values: Arguments['values']): AdminOrder {
  const { user, client } = chosen(values)
  if ((user === undefined) === (client === undefined))
    throw new OptionError('kick', 'needs either --client ADDRESS or --user USER')
  return { verb: 'kick', order: user === undefined ? { client: client as string } : { user } }
}

function lockList(_words: readonly string[], values: Arguments['values']): AdminOrder {
  return { verb: 'lock list', order: { ...chosen(values), ...limit(values, 10_000) } }
}

function limit(values: Arguments['values'], most: number): { limit?: number } {
  return number(values, '--limit', 1, most, 'limit')
}

function number<Key extends string>(
  values: Arguments['values'],
  option: string,
  least: number,
  most: number,
  key: Key,
): { [K in Key]?: number } {
  const text = last(values, option)
  if (text === undefined) return {}
  const value = Number(text)
  if (!/^\d{1,15}$/.test(text) || value < least || value > most)
    throw new OptionError(option, `${JSON.stringify(text)} is not a number from ${least} to ${most}`)
  return { [key]: value } as { [K in Key]?: number }
}

function size<Key extends string>(values: Arguments['values'], option: string, key: Key): { [K in Key]?: number } {
  const text = last(values, option)
  if (text === undefined) return {}
  const bytes = text === '0' ? 0 : bytesOf(text)
  if (bytes === undefined)
    throw new OptionError(
      option,
      `${JSON.stringify(text)} is not a size; use for example 500M or 10G, or 0 for no limit`,
    )
  return { [key]: bytes } as { [K in Key]?: number }
}

function quotaShow([view]: readonly string[], values: Arguments['values']): AdminOrder {
  const user = last(values, '--user')
  if ((view === undefined) === (user === undefined))
    throw new OptionError('quota', 'show needs a view or a user; say overlayd quota show TEMPLATE/NAME, or --user USER')
  return { verb: 'quota show', order: view === undefined ? { user: user as string } : { view } }
}

const MOST_FILES = 1_000_000_000

function quotaSet([view]: readonly string[], values: Arguments['values']): AdminOrder {
  if (view === undefined)
    throw new OptionError('quota', 'set needs a view; say overlayd quota set TEMPLATE/NAME --bytes SIZE')
  const limits = {
    ...size(values, '--bytes', 'bytes'),
    ...size(values, '--soft-bytes', 'softBytes'),
    ...number(values, '--files', 0, MOST_FILES, 'files'),
    ...number(values, '--soft-files', 0, MOST_FILES, 'softFiles'),
  }
  const inherit = values.has('--inherit')
  if (inherit === Object.keys(limits).length > 0)
    throw new OptionError('quota', 'set needs either limits, such as --bytes 2G, or --inherit')
  return { verb: 'quota set', order: inherit ? { view, inherit } : { view, ...limits } }
}

function usageOrder([what]: readonly string[], values: Arguments['values']): AdminOrder {
  const named = what === undefined ? {} : what.includes('/') ? { view: what } : { template: what }
  return { verb: 'usage', order: { ...named, ...limit(values, 10_000), ...(values.has('--count') && { count: true }) } }
}

function topOrder(_words: readonly string[], values: Arguments['values']): AdminOrder {
  const { seconds = 2 } = number(values, '--seconds', 1, 3600, 'seconds')
  return { verb: 'top', order: { seconds, once: values.has('--once') } }
}
