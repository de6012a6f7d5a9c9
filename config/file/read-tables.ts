import { nearestWord } from '../../overlay-core/index.ts'
import { ADMIN } from './admin-tables.ts'
import { BOOT, GROUPS, MACHINES } from './boot-tables.ts'
import type { Given, Key, Keys, Named, Table, ValuesOf } from './key.ts'
import { LDAP } from './ldap-tables.ts'
import { LIMITS } from './limit-tables.ts'
import { LOGIN } from './login-tables.ts'
import { METRICS } from './metrics-table.ts'
import { OIDC } from './oidc-tables.ts'
import type { Problems } from './problems.ts'
import { LOG, NFS, SERVER, TLS, WEBDAV } from './server-tables.ts'
import { TABLES } from './tables.ts'
import type { Document, TableNode } from './toml.ts'
import { USERS } from './user-tables.ts'
import type { ReadContext } from './value-types.ts'
import { EXPORTS, LAYERS, STACKS, VIEWS } from './view-tables.ts'

/** The values of a file, table by table, without the invalid ones. */
export interface FileValues {
  readonly server: ValuesOf<typeof SERVER.keys>
  readonly log: ValuesOf<typeof LOG.keys>
  readonly webdav: ValuesOf<typeof WEBDAV.keys>
  readonly nfs: ValuesOf<typeof NFS.keys>
  /** Undefined if the file has no such table. */
  readonly login: ValuesOf<typeof LOGIN.keys> | undefined
  /** Undefined if the file has no such table. */
  readonly ldap: ValuesOf<typeof LDAP.keys> | undefined
  /** Undefined if the file has no such table. */
  readonly oidc: ValuesOf<typeof OIDC.keys> | undefined
  readonly users: ValuesOf<typeof USERS.keys>
  /** Undefined if the file has no such table. */
  readonly metrics: ValuesOf<typeof METRICS.keys> | undefined
  readonly limits: ValuesOf<typeof LIMITS.keys>
  readonly tls: ValuesOf<typeof TLS.keys>
  /** Undefined if the file has no such table. */
  readonly boot: ValuesOf<typeof BOOT.keys> | undefined
  /** Undefined if the file has no such table. */
  readonly admin: ValuesOf<typeof ADMIN.keys> | undefined
  readonly machines: readonly Named<typeof MACHINES.keys>[]
  readonly groups: readonly Named<typeof GROUPS.keys>[]
  readonly layers: readonly Named<typeof LAYERS.keys>[]
  /** The keys of `[layers]` itself. */
  readonly layerStore: ValuesOf<typeof LAYERS.own>
  readonly stacks: readonly Named<typeof STACKS.keys>[]
  readonly views: readonly Named<typeof VIEWS.keys>[]
  readonly exports: readonly Named<typeof EXPORTS.keys>[]
}

/** Reads the values of all tables of a file. Unknown names, wrong types and missing keys go to `problems`. */
export function readTables({ root, whole }: Document, problems: Problems, context: ReadContext): FileValues {
  const reader = new TableReader(root, whole, problems, context)
  reader.refuseUnknownTables()
  return {
    server: reader.single(SERVER),
    log: reader.single(LOG),
    webdav: reader.single(WEBDAV),
    nfs: reader.single(NFS),
    login: root.entries.has(LOGIN.name) ? reader.single(LOGIN) : undefined,
    ldap: root.entries.has(LDAP.name) ? reader.single(LDAP) : undefined,
    oidc: root.entries.has(OIDC.name) ? reader.single(OIDC) : undefined,
    users: reader.single(USERS),
    metrics: root.entries.has(METRICS.name) ? reader.single(METRICS) : undefined,
    limits: reader.single(LIMITS),
    tls: reader.single(TLS),
    boot: root.entries.has(BOOT.name) ? reader.single(BOOT) : undefined,
    admin: root.entries.has(ADMIN.name) ? reader.single(ADMIN) : undefined,
    machines: reader.named(MACHINES),
    groups: reader.named(GROUPS),
    layers: reader.named(LAYERS),
    layerStore: reader.own(LAYERS),
    stacks: reader.named(STACKS),
    views: reader.named(VIEWS),
    exports: reader.named(EXPORTS),
  }
}

const EMPTY: TableNode = { kind: 'table', at: 0, entries: new Map() }

class TableReader {
  readonly #root: TableNode
  /** False if parts of the file could not be read; a missing key may then be in one of them. */
  readonly #whole: boolean
  readonly #problems: Problems
  readonly #context: ReadContext

  constructor(root: TableNode, whole: boolean, problems: Problems, context: ReadContext) {
    this.#root = root
    this.#whole = whole
    this.#problems = problems
    this.#context = context
  }

  refuseUnknownTables(): void {
    const names = TABLES.map(({ name }) => name)
    for (const [name, { at, node }] of this.#root.entries) {
      if (names.includes(name)) continue
      const kind = node.kind === 'table' ? 'table' : 'key'
      const near = kind === 'table' ? nearestWord(name, names) : undefined
      const mend = near === undefined ? placeOf(name, undefined) : `did you mean ${quoted(near)}?`
      this.#problems.add(at, `unknown ${kind} ${quoted(name)}; ${mend}`)
    }
  }

  single<Of extends Keys>(table: Table<Of>): ValuesOf<Of> {
    const node = this.#table(table.name, this.#root.entries.get(table.name)?.node ?? EMPTY)
    return this.#values(table, table.name, node ?? EMPTY, undefined)
  }

  named<Of extends Keys>(table: Table<Of>): Named<Of>[] {
    const node = this.#table(table.name, this.#root.entries.get(table.name)?.node ?? EMPTY)
    const found: Named<Of>[] = []
    for (const [name, entry] of node?.entries ?? []) {
      if (isOwnKey(table, name, entry.node)) continue
      if (entry.node.kind !== 'table' && Object.hasOwn(table.keys, name)) {
        this.#problems.add(
          entry.at,
          `${quoted(name)} must be in a table with a name; write it below [${table.name}.NAME]`,
        )
        continue
      }
      const path = `${table.name}.${keyText(name)}`
      const inside = this.#table(path, entry.node)
      if (inside !== undefined) found.push({ name, at: entry.at, values: this.#values(table, path, inside, entry.at) })
    }
    return found
  }

  /** The values beside the named tables. */
  own<Of extends Keys>({ name, named, meaning, own }: Table & { readonly own: Of }): ValuesOf<Of> {
    const node = this.#root.entries.get(name)?.node
    const entries = node?.kind === 'table' ? [...node.entries] : []
    const itself = { name, named, meaning, keys: own }
    const inside = new Map(entries.filter(([key, entry]) => isOwnKey({ own }, key, entry.node)))
    return this.#values(itself, name, { ...EMPTY, entries: inside }, undefined)
  }

  /** Returns the node if it is a table; otherwise reports a problem and returns undefined. */
  #table(path: string, node: FileNode): TableNode | undefined {
    if (node.kind === 'table') return node
    const mend = node.kind === 'list' && /^\w+$/.test(path) ? `; write each as [${path}.NAME]` : ''
    this.#problems.add(node.at, `${quoted(path)} must be a table${mend}`)
    return undefined
  }

  #values<Of extends Keys>(table: Table<Of>, path: string, node: TableNode, headerAt: number | undefined) {
    const values: { [name: string]: Given<unknown> | undefined } = {}
    for (const [name, { at, node: value }] of node.entries) {
      const key = Object.hasOwn(table.keys, name) ? table.keys[name] : undefined
      if (key === undefined) this.#problems.add(at, unknownKey(name, table))
      else values[name] = this.#value(key, { path: `${path}.${name}`, at, node: value })
    }
    for (const [name, key] of Object.entries(table.keys)) {
      if (key.required && !node.entries.has(name) && this.#whole) {
        const example = key.example ?? key.type.shown.split('|')[0]
        this.#problems.add(headerAt ?? node.at, `${quoted(`${path}.${name}`)} is missing; add ${name} = ${example}`)
      }
    }
    return values as ValuesOf<Of>
  }

  #value(key: Key<unknown>, { path, at, node }: { path: string; at: number; node: FileNode }) {
    if (node.kind === 'scalar' && node.broken) return undefined
    const complain = (where: FileNode, message: string) =>
      this.#problems.add(where.at, `${quoted(path)}${message.startsWith('must') ? '' : ':'} ${inFileWords(message)}`)
    const value = key.type.read(node, complain, this.#context)
    return value === undefined ? undefined : { value, at, valueAt: node.at, variables: variablesOf(node) }
  }
}

type FileNode = Parameters<Key<unknown>['type']['read']>[0]

function variablesOf(node: FileNode): readonly string[] {
  if (node.kind === 'list') return node.items.flatMap(variablesOf)
  return node.kind === 'scalar' ? node.variables : []
}

/** Whether an entry beside named tables is a key of the table itself; a table may have its name. */
function isOwnKey({ own = {} }: Pick<Table, 'own'>, name: string, { kind }: FileNode): boolean {
  return kind !== 'table' && Object.hasOwn(own, name)
}

/** A key in the syntax of the file, quoted if necessary. */
export function keyText(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name)
}

function quoted(word: string): string {
  return `\`${word}\``
}

function unknownKey(name: string, table: Table): string {
  const words = new Map<string, string>()
  for (const [key, { option }] of Object.entries(table.keys)) {
    words.set(key, key)
    // People who know the command line may use its names.
    if (option !== undefined) words.set(option.replace(/^(-o |--)/, '').replaceAll('-', '_'), key)
  }
  const near = nearestWord(name.replaceAll('-', '_'), words.keys())
  const mend = near === undefined ? placeOf(name, table) : `did you mean ${quoted(words.get(near) as string)}?`
  return `unknown key ${quoted(name)}; ${mend}`
}

/** Describes where a misplaced key belongs. */
function placeOf(name: string, wrong: Table | undefined): string {
  const places = TABLES.filter((table) => table !== wrong && Object.hasOwn(table.keys, name))
  if (places.length > 0) return `it belongs in ${places.map(headerOf).join(' or ')}`
  if (wrong !== undefined) return `the keys of ${headerOf(wrong)} are ${Object.keys(wrong.keys).join(', ')}`
  return `the tables are ${TABLES.map(headerOf).join(', ')}`
}

/** The header of a table, for example `[views.NAME]`. */
export function headerOf({ name, named }: Pick<Table, 'name' | 'named'>): string {
  return named ? `[${name}.NAME]` : `[${name}]`
}

const KEY_OF_OPTION: ReadonlyMap<string, string> = new Map(
  TABLES.flatMap(({ name, keys, named }) =>
    Object.entries(keys).flatMap(([key, { option }]): [string, string][] =>
      option === undefined ? [] : [[option, named ? key : `${name}.${key}`]],
    ),
  ),
)

/** The key that corresponds to an option of the command line, for example `webdav.listen` for `--webdav`. */
export function keyOfOption(option: string): string | undefined {
  return KEY_OF_OPTION.get(option)
}

/** Replaces the command-line options in a message by the corresponding keys. */
export function inFileWords(message: string): string {
  return message.replace(/(--[a-z][a-z-]*)( off\b)?/g, (all, option: string, off?: string) => {
    const key = KEY_OF_OPTION.get(option)
    if (key === undefined) return all
    return off === undefined ? key : `${key} = "off"`
  })
}
