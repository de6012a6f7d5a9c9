import type { Arguments } from '../arguments.ts'
import type { Environment } from '../environment.ts'
import { ADMIN } from './admin-tables.ts'
import { BOOT, GROUPS, MACHINES } from './boot-tables.ts'
import type { Given, Key, Keys, Named, Table, ValuesOf } from './key.ts'
import { LDAP } from './ldap-tables.ts'
import { LIMITS } from './limit-tables.ts'
import { LOGIN } from './login-tables.ts'
import { METRICS } from './metrics-table.ts'
import { OIDC } from './oidc-tables.ts'
import type { Problems } from './problems.ts'
import { type FileValues, keyText } from './read-tables.ts'
import { LOG, NFS, SERVER, TLS, WEBDAV } from './server-tables.ts'
import { USERS } from './user-tables.ts'
import { SWITCH } from './value-types.ts'
import { EXPORTS, LAYERS, STACKS, VIEWS } from './view-tables.ts'

/** The source of a value. */
export type Origin =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly file: string; readonly line: number; readonly variables: readonly string[] }
  | { readonly kind: 'command line'; readonly option: string }
  | { readonly kind: 'environment'; readonly variables: readonly string[] }

/** An effective value. */
export interface EffectiveValue {
  /** For example `webdav` or `views.course`. */
  readonly table: string
  readonly key: string
  /** The value in the syntax of the file; undefined if there is none. */
  readonly value: string | undefined
  /** A description of what applies if there is no value. */
  readonly words?: string
  readonly from: Origin
}

/** The sources of values besides the defaults. */
export interface Sources {
  readonly file: FileValues
  readonly fileName: string
  readonly problems: Problems
  /** Options of the command line, which override the file. */
  readonly overrides: Arguments['values']
  readonly environment: Environment
}

/** Returns all effective values with their sources, in the order of the manual. */
export function effectiveValues(sources: Sources): EffectiveValue[] {
  const { file } = sources
  return [
    ...table({ ...LAYERS, keys: LAYERS.own }, 'layers', file.layerStore, sources),
    ...file.layers.flatMap((layer) => named(LAYERS, layer, sources)),
    ...file.stacks.flatMap((stack) => named(STACKS, stack, sources)),
    ...file.views.flatMap((view) => named(VIEWS, view, sources)),
    ...file.exports.flatMap((served) => named(EXPORTS, served, sources)),
    ...(file.login === undefined ? [] : table(LOGIN, 'login', file.login, sources)),
    ...(file.ldap === undefined ? [] : table(LDAP, 'ldap', file.ldap, sources)),
    ...(file.oidc === undefined ? [] : table(OIDC, 'oidc', file.oidc, sources)),
    ...table(USERS, 'users', file.users, sources),
    ...table(WEBDAV, 'webdav', file.webdav, sources),
    ...table(NFS, 'nfs', file.nfs, sources),
    ...table(TLS, 'tls', file.tls, sources),
    ...(file.boot === undefined ? [] : table(BOOT, 'boot', file.boot, sources)),
    ...file.groups.flatMap((group) => named(GROUPS, group, sources)),
    ...file.machines.flatMap((machine) => named(MACHINES, machine, sources)),
    ...(file.admin === undefined ? [] : table(ADMIN, 'admin', file.admin, sources)),
    ...table(SERVER, 'server', file.server, sources),
    ...(file.metrics === undefined ? [] : table(METRICS, 'metrics', file.metrics, sources)),
    ...table(LIMITS, 'limits', file.limits, sources),
    ...table(LOG, 'log', file.log, sources),
  ]
}

function named<Of extends Keys>(spec: Table<Of>, { name, values }: Named<Of>, sources: Sources): EffectiveValue[] {
  return table(spec, `${spec.name}.${keyText(name)}`, values, sources)
}

function table<Of extends Keys>(spec: Table<Of>, path: string, values: ValuesOf<Of>, sources: Sources) {
  const found: EffectiveValue[] = []
  for (const [name, key] of Object.entries(spec.keys))
    found.push({ table: path, key: name, ...effective(key, values[name], sources) })
  return found
}

function effective(
  key: Key<unknown>,
  given: Given<unknown> | undefined,
  { overrides, problems, fileName, environment }: Sources,
): Pick<EffectiveValue, 'value' | 'words' | 'from'> {
  const { option } = key
  const texts = option === undefined || option.startsWith('-o') ? undefined : overrides.get(option)
  if (option !== undefined && texts !== undefined && option !== '--export')
    return { value: fromLine(key, texts), from: { kind: 'command line', option } }
  if (given !== undefined) {
    const { line } = problems.place(given.valueAt)
    return {
      value: shownValue(given.value),
      from: { kind: 'file', file: fileName, line, variables: given.variables },
    }
  }
  if (option === '--state-dir') {
    const value = JSON.stringify(environment.defaultStateDir)
    const variables = environment.uid === 0 ? [] : ['XDG_STATE_HOME', 'HOME']
    return { value, from: variables.length === 0 ? { kind: 'default' } : { kind: 'environment', variables } }
  }
  const words = key.default === undefined ? { words: key.otherwise ?? 'none' } : {}
  return { value: key.default, ...words, from: { kind: 'default' } }
}

/** Converts an option of the command line to the syntax of the file. */
function fromLine({ type }: Key<unknown>, texts: readonly string[]): string {
  if (type === SWITCH) return 'true'
  if (type.json.type === 'array') return shownValue(texts)
  const last = texts.at(-1) as string
  return type.json.type === 'integer' ? last : JSON.stringify(last)
}

function shownValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(shownValue).join(', ')}]`
  if (typeof value === 'object' && value !== null && 'text' in value) return JSON.stringify(value.text)
  return JSON.stringify(value)
}

/** Prints the values as an equivalent configuration file, with the source of each as a comment. */
export function printValues(values: readonly EffectiveValue[]): string {
  const lines: string[] = []
  let last = ''
  const width = Math.max(0, ...values.map((each) => assignment(each).length).filter((length) => length < 60))
  for (const each of values) {
    if (each.table !== last) lines.push(...(last === '' ? [] : ['']), `[${each.table}]`)
    last = each.table
    lines.push(`${assignment(each).padEnd(width)}  # ${originText(each.from)}`)
  }
  return `${lines.join('\n')}\n`
}

function assignment({ key, value, words }: EffectiveValue): string {
  return value === undefined ? `# ${key}: ${words}` : `${key} = ${value}`
}

function originText(from: Origin): string {
  switch (from.kind) {
    case 'default':
      return 'default'
    case 'file': {
      const variables = from.variables.length === 0 ? '' : ` (${from.variables.join(', ')})`
      return `${from.file}:${from.line}${variables}`.replace(/\p{Cc}/gu, '?')
    }
    case 'command line':
      return `command line (${from.option})`
    case 'environment':
      return `environment (${from.variables.join(', ')})`
  }
}

/** Prints the values as JSON. */
export function printValuesAsJson(values: readonly EffectiveValue[]): string {
  const list = values.map(({ table: path, key, value, from }) => ({
    key: `${path}.${key}`,
    value: value === undefined ? null : JSON.parse(value),
    from,
  }))
  return `${JSON.stringify(list, null, 2)}\n`
}
