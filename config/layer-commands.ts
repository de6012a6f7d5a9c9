import { nearestWord, OptionError } from '../overlay-core/index.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { COMMIT_OPTIONS, EXPORT_COMMAND_OPTIONS, LAYER_OPTIONS } from './layer-options.ts'
import { serverChoice, shortAbsolute } from './server-choice.ts'
import type { Command, ConfigRequest, LayerRequest, LayerWork } from './settings.ts'

const VERBS = ['add', 'publish', 'list', 'show', 'remove', 'gc'] as const
const FORMATS = ['oci-layer', 'oci-archive', 'tar', 'overlay-dir'] as const

/** How each command is written, for messages. */
const USAGE = {
  add: 'overlayd layer add NAME --from SOURCE',
  publish: 'overlayd layer publish NAME --from SOURCE',
  list: 'overlayd layer list [NAME]',
  show: 'overlayd layer show NAME[@VERSION]',
  remove: 'overlayd layer remove NAME@VERSION',
  gc: 'overlayd layer gc',
  import: 'overlayd import NAME SOURCE',
  commit: 'overlayd commit VIEW --as LAYER[:VERSION]',
  promote: 'overlayd promote VIEW PATH… --to LAYER[:VERSION]',
  export: 'overlayd export VIEW|layer:NAME --format FORMAT --to PATH',
} as const

/** Parses `layer`, `import`, `commit`, `promote` and `export`; undefined for other commands. @throws OptionError */
export function parseLayerCommand(argv: readonly string[], environment: Environment): Command | undefined {
  const [command, ...rest] = argv
  if (command === 'layer') return parseLayer(rest, environment)
  if (command === 'import') return parseImport(rest, environment)
  if (command === 'commit' || command === 'promote') return parseCommit(command, rest, environment)
  return command === 'export' ? parseExport(rest, environment) : undefined
}

function parseLayer([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('layer') }
  if (word === undefined) throw new OptionError('layer', `needs a word more; say ${VERBS.join(', ')}`)
  const verb = VERBS.find((each) => each === word)
  if (verb === undefined) throw OptionError.unknown(word, VERBS, 'word after layer')
  const given = cutArguments(argv, LAYER_OPTIONS)
  if (given.values.has('--help')) return { kind: 'help', text: helpOn('layer') }
  const [layer, ...more] = given.words
  if (layer === undefined && verb !== 'list' && verb !== 'gc')
    throw new OptionError('layer', `needs a name; say ${USAGE[verb]}`)
  if (more.length > 0 || (verb === 'gc' && layer !== undefined)) throw tooMany('layer', more[0] ?? layer, USAGE[verb])
  const only = (option: string, verbs: readonly string[]) => {
    if (given.values.has(option) && !verbs.includes(verb))
      throw new OptionError(option, `goes with ${verbs.join(' and ')}; remove it`)
  }
  for (const option of ['--from', '--version', '--whiteouts']) only(option, ['add', 'publish'])
  only('--dry-run', ['gc'])
  const from = given.values.get('--from')?.at(-1)
  if (verb === 'add' || verb === 'publish') {
    if (from === undefined) throw new OptionError('--from', `is missing; say ${USAGE[verb]}`)
    return layerCommand(
      { ...makingOf(given, environment), verb, layer: layer as string, from: sourceIn(from, environment) },
      given,
      environment,
    )
  }
  if (verb === 'gc') return layerCommand({ verb, dryRun: given.values.has('--dry-run') }, given, environment)
  if (verb === 'list') return layerCommand({ verb, ...(layer !== undefined && { layer }) }, given, environment)
  const yes = given.values.has('--yes')
  return layerCommand(
    verb === 'remove' ? { verb, layer: layer as string, yes } : { verb, layer: layer as string },
    given,
    environment,
  )
}

function parseImport(argv: readonly string[], environment: Environment): Command {
  const given = cutArguments(argv, LAYER_OPTIONS)
  if (given.values.has('--help')) return { kind: 'help', text: helpOn('layer') }
  const [layer, source, ...more] = given.words
  const from = source ?? given.values.get('--from')?.at(-1)
  if (layer === undefined || from === undefined)
    throw new OptionError('import', `needs a name and a source; say ${USAGE.import}`)
  if (more.length > 0) throw tooMany('import', more[0], USAGE.import)
  return layerCommand(
    { ...makingOf(given, environment), verb: 'import', layer, from: sourceIn(from, environment) },
    given,
    environment,
  )
}

function makingOf({ values }: Arguments, _environment: Environment) {
  const version = values.get('--version')?.at(-1)
  const whiteouts = values.get('--whiteouts')?.at(-1)
  if (whiteouts !== undefined && whiteouts !== 'files')
    throw new OptionError(
      '--whiteouts',
      `${JSON.stringify(whiteouts)} is not a form of whiteouts; use files, or leave it out`,
    )
  return { ...(version !== undefined && { version }), ...(whiteouts !== undefined && { whiteoutFiles: true }) }
}

function parseCommit(verb: 'commit' | 'promote', argv: readonly string[], environment: Environment): Command {
  const given = cutArguments(argv, COMMIT_OPTIONS)
  if (given.values.has('--help')) return { kind: 'help', text: helpOn('commit') }
  const [view, ...paths] = given.words
  if (view === undefined) throw new OptionError(verb, `needs a view; say ${USAGE[verb]}`)
  if (verb === 'commit' && paths.length > 0)
    throw new OptionError('commit', `takes all changes; to choose some, say ${USAGE.promote}`)
  if (verb === 'promote' && paths.length === 0) throw new OptionError('promote', `needs paths; say ${USAGE.promote}`)
  const [own, other] = verb === 'commit' ? ['--as', '--to'] : ['--to', '--as']
  const to = given.values.get(own)?.at(-1) ?? given.values.get(other)?.at(-1)
  if (to === undefined) throw new OptionError(own, `is missing; say ${USAGE[verb]}`)
  const dryRun = given.values.has('--dry-run')
  return layerCommand({ verb, view, to, dryRun, ...(verb === 'promote' && { paths }) }, given, environment)
}

function parseExport(argv: readonly string[], environment: Environment): Command {
  const given = cutArguments(argv, EXPORT_COMMAND_OPTIONS)
  if (given.values.has('--help')) return { kind: 'help', text: helpOn('export') }
  const [what, ...more] = given.words
  if (what === undefined) throw new OptionError('export', `needs a view or layer; say ${USAGE.export}`)
  if (more.length > 0) throw tooMany('export', more[0], USAGE.export)
  const word = given.values.get('--format')?.at(-1) ?? 'oci-archive'
  const format = FORMATS.find((each) => each === word)
  if (format === undefined) {
    const near = nearestWord(word, FORMATS) ?? FORMATS.join(', ')
    throw new OptionError('--format', `${JSON.stringify(word)} is not a format; use ${near}`)
  }
  const to = given.values.get('--to')?.at(-1)
  if (to === undefined) throw new OptionError('--to', `is missing; say ${USAGE.export}`)
  return layerCommand({ verb: 'export', what, format, to: shortAbsolute(to, environment) }, given, environment)
}

/** A source with an absolute path. */
function sourceIn(text: string, environment: Environment): string {
  const [, kind = '', path = ''] = /^((?:dir|tar|oci|oci-archive):)?(.*)$/s.exec(text) ?? []
  return kind + shortAbsolute(path, environment)
}

function layerCommand(work: LayerWork, { values }: Arguments, environment: Environment): Command {
  const file = values.get('--config')?.at(-1)
  const store = values.get('--store')?.at(-1)
  if (file !== undefined && store !== undefined)
    throw new OptionError(
      '--store',
      'cannot be combined with --config, which says where the layer store is; remove one',
    )
  const config: ConfigRequest | undefined =
    file === undefined
      ? undefined
      : { name: file, path: shortAbsolute(file, environment), overrides: new Map(), environment }
  const request: LayerRequest = {
    ...{ work, config, json: values.has('--json') },
    store: store === undefined ? undefined : shortAbsolute(store, environment),
    ...serverChoice(values, environment),
  }
  return { kind: 'layer', layer: request }
}

function tooMany(name: string, word: string | undefined, usage: string): OptionError {
  return new OptionError(name, `takes no further word, but got ${JSON.stringify(word)}; say ${usage}`)
}
