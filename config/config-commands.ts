import { OptionError } from '../overlay-core/index.ts'
import { parseAdminCommand } from './admin-commands.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import { parseCert } from './cert-commands.ts'
import { parseDiff } from './diff-command.ts'
import type { Environment } from './environment.ts'
import { parseFsck } from './fsck-command.ts'
import { helpOn } from './help.ts'
import { parseImage } from './image-commands.ts'
import { parseLayerCommand } from './layer-commands.ts'
import { parseBoot, parseMachine } from './machine-commands.ts'
import { parseRebaseCommand } from './rebase-commands.ts'
import { parseRun } from './run-command.ts'
import { FILE_OPTIONS, HELP_OPTIONS, PRINT_OPTIONS, RELOAD_OPTIONS, USER_OPTIONS, VIEW_OPTIONS } from './schema.ts'
import { serverChoice, shortAbsolute } from './server-choice.ts'
import type { Command, ConfigRequest } from './settings.ts'
import { parseSnapshotCommand } from './snapshot-commands.ts'
import { parseToken } from './token-command.ts'
import { parseTrash } from './trash-command.ts'

/**
 * The commands for configuration files: `serve --config FILE`, `config check FILE`, `config print`. Undefined if `argv` is none of
 * them: a command line with `-o` or `--sample` serves an overlay, whatever its first word is.
 *
 * @throws OptionError
 */
export function parseConfigCommand(argv: readonly string[], environment: Environment): Command | undefined {
  if (argv.some((word) => /^(-o|--sample$)/.test(word))) return undefined
  const [command, ...rest] = argv
  if (command === 'serve') return parseServeConfig(rest, environment)
  if (command === 'config') return parseConfig(rest, environment)
  if (command === 'reload') return parseReload(rest, environment)
  if (command === 'view') return parseView(rest, environment)
  const snapshot = parseSnapshotCommand(argv, environment)
  if (snapshot !== undefined) return snapshot
  const layer = parseLayerCommand(argv, environment)
  if (layer !== undefined) return layer
  const rebase = parseRebaseCommand(argv, environment)
  if (rebase !== undefined) return rebase
  const admin = parseAdminCommand(argv, environment)
  if (admin !== undefined) return admin
  if (command === 'diff') return parseDiff(rest, environment)
  if (command === 'run') return parseRun(rest, environment)
  if (command === 'fsck') return parseFsck(rest, environment)
  if (command === 'token') return parseToken(rest, environment)
  if (command === 'trash') return parseTrash(rest, environment)
  if (command === 'user') return parseUser(rest, environment)
  if (command === 'init') return parseInit(rest, environment)
  if (command === 'machine') return parseMachine(rest, environment)
  if (command === 'image') return parseImage(rest, environment)
  if (command === 'boot') return parseBoot(rest, environment)
  if (command === 'cert') return parseCert(rest, environment)
  if (argv.some((word) => /^--config(=|$)/.test(word)))
    throw new OptionError('--config', 'goes with a command; say overlayd serve --config FILE')
  return undefined
}

function parseServeConfig(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, FILE_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('serve') }
  refuseWords('serve', words)
  const file = values.get('--config')?.at(-1)
  if (file === undefined) throw new OptionError('--config', 'is missing; say overlayd serve --config FILE')
  return { kind: 'serve-config', config: requestFor(file, values, environment) }
}

function parseConfig([verb, ...argv]: readonly string[], environment: Environment): Command {
  if (verb === 'check') return parseCheck(argv, environment)
  if (verb === 'print') return parsePrint(argv, environment)
  if (verb === '--help' || verb === '-h') return { kind: 'help', text: helpOn('config') }
  if (verb === undefined) throw new OptionError('config', 'needs a word more; say overlayd config check FILE, or print')
  throw OptionError.unknown(verb, ['check', 'print'], 'word after config')
}

function parseCheck(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, HELP_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('config') }
  const [file, ...more] = words
  if (file === undefined) throw new OptionError('FILE', 'is missing; say overlayd config check FILE')
  refuseWords('config check', more)
  return { kind: 'config-check', config: requestFor(file, new Map(), environment) }
}

function parsePrint(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, PRINT_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('config') }
  refuseWords('config print', words)
  const file = values.get('--config')?.at(-1)
  const config = file === undefined ? undefined : requestFor(file, values, environment)
  return { kind: 'config-print', print: { config, overrides: values, environment, json: values.has('--json') } }
}

function parseReload(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, RELOAD_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('reload') }
  refuseWords('reload', words)
  return { kind: 'reload', reload: serverChoice(values, environment) }
}

const VIEW_VERBS = ['create', 'list', 'show', 'rename', 'remove'] as const

function parseView([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('view') }
  const verb = VIEW_VERBS.find((each) => each === word)
  if (word === undefined) throw new OptionError('view', `needs a word more; say ${VIEW_VERBS.join(', ')}`)
  if (verb === undefined) throw OptionError.unknown(word, VIEW_VERBS, 'word after view')
  const { values, words } = cutArguments(argv, VIEW_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('view') }
  const [view, ...more] = words
  const [to] = verb === 'rename' ? more.splice(0, 1) : []
  if (view === undefined && verb !== 'list')
    throw new OptionError('view', `${verb} needs a view; say overlayd view ${verb} TEMPLATE/NAME`)
  if (verb === 'rename' && to === undefined)
    throw new OptionError('view', 'rename needs the new name; say overlayd view rename TEMPLATE/NAME NEW')
  refuseWords(`view ${verb}`, more)
  const [yes, json] = [values.has('--yes'), values.has('--json')]
  return { kind: 'view', view: { verb, view, to, yes, json, ...serverChoice(values, environment) } }
}

const USER_VERBS = ['add', 'passwd', 'remove', 'list'] as const

function parseUser([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('user') }
  const verb = USER_VERBS.find((each) => each === word)
  if (word === undefined) throw new OptionError('user', `needs a word more; say ${USER_VERBS.join(', ')}`)
  if (verb === undefined) throw OptionError.unknown(word, USER_VERBS, 'word after user')
  const { values, words } = cutArguments(argv, USER_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('user') }
  const [name, ...more] = verb === 'list' ? ['', ...words] : words
  if (name === undefined) throw new OptionError('user', `${verb} needs a name; say overlayd user ${verb} NAME`)
  // A password there would be visible to all users of the machine.
  if (more.length > 0 && (verb === 'add' || verb === 'passwd'))
    throw new OptionError(
      'user',
      `${verb} takes only a name; it asks for the password, or reads it from standard input`,
    )
  refuseWords(`user ${verb}`, more)
  const [file, config] = [values.get('--file')?.at(-1), values.get('--config')?.at(-1)]
  if ((file === undefined) === (config === undefined))
    throw new OptionError('user', 'needs the configuration or the password file; add --config FILE or --file FILE')
  return {
    kind: 'user',
    user: {
      ...{ verb, name, json: values.has('--json') },
      file: file && shortAbsolute(file, environment),
      config: config === undefined ? undefined : requestFor(config, new Map(), environment),
    },
  }
}

function parseInit(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, HELP_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('init') }
  const [directory, ...more] = words
  if (directory === undefined) throw new OptionError('DIR', 'is missing; say overlayd init DIR')
  refuseWords('init', more)
  return { kind: 'init', init: { name: directory, path: shortAbsolute(directory, environment) } }
}

function refuseWords(command: string, words: readonly string[]): void {
  if (words.length > 0) throw new OptionError(command, `takes no further word, but got ${JSON.stringify(words[0])}`)
}

function requestFor(name: string, overrides: Arguments['values'], environment: Environment): ConfigRequest {
  return { name, path: shortAbsolute(name, environment), overrides, environment }
}
