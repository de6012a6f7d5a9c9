import { parse, TomlError } from 'smol-toml'
import { type Mark, marksOf } from './marks.ts'
import type { Problems } from './problems.ts'

/** A table, list or single value of a file, and its position. */
export type Node = TableNode | ListNode | ScalarNode

export interface TableNode {
  readonly kind: 'table'
  readonly at: number
  readonly entries: ReadonlyMap<string, Entry>
}

/** A key of a table and its value; `at` is the offset of the key. */
export interface Entry {
  readonly at: number
  readonly node: Node
}

export interface ListNode {
  readonly kind: 'list'
  readonly at: number
  readonly items: readonly Node[]
}

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly at: number
  /** A date is represented by its text, and an integer by a bigint if it is too large for a number. */
  readonly value: string | number | bigint | boolean
  readonly type: 'text' | 'whole number' | 'number' | 'boolean' | 'date'
  /** The environment variables that were replaced in the text. */
  readonly variables: readonly string[]
  /** Whether it contains an unset variable, which has been reported. */
  readonly broken?: boolean
}

/** The maximum nesting of tables and lists. */
const MAX_DEPTH = 32
const MAX_SYNTAX_ERRORS = 20

/** The result of parsing a file, and whether all of it could be parsed. */
export interface Document {
  readonly root: TableNode
  /** False if unreadable parts were left out. */
  readonly whole: boolean
}

/**
 * Parses TOML. Invalid lines go to `problems` and are left out, so that one run finds as many errors as possible.
 */
export function readToml(text: string, problems: Problems): Document {
  let rest = text
  for (let errors = 0; errors < MAX_SYNTAX_ERRORS; errors++) {
    try {
      const value = parse(rest, { integersAsBigInt: true, maxDepth: MAX_DEPTH })
      return { root: tableOf(value, marksOf(rest)), whole: errors === 0 }
    } catch (error) {
      if (!(error instanceof TomlError)) throw error
      const message = (error.message.split('\n', 1)[0] as string).replace(/^Invalid TOML document: /, '')
      problems.addAtLine(error.line, error.column, `this is not TOML: ${message.replace(/\.$/, '')}`)
      const shorter = withoutLine(rest, error.line, message)
      if (shorter === undefined) break
      rest = shorter
    }
  }
  return { root: { kind: 'table', at: 0, entries: new Map() }, whole: false }
}

/** Blanks out the line of an error, or the whole table if its header is wrong; undefined if the extent of the error is unknown. */
function withoutLine(text: string, line: number, message: string): string | undefined {
  const lines = text.split('\n')
  const wrong = lines[line - 1]?.trim() ?? ''
  if (wrong === '') return undefined
  const header = wrong.startsWith('[')
  if (header && !/redefine/.test(message)) return undefined
  let end = line
  while (header && end < lines.length && !lines[end]?.trim().startsWith('[')) end++
  // Blanks keep the offsets of everything else unchanged.
  return lines.map((each, i) => (i >= line - 1 && i < end ? each.replace(/[^\r]/g, ' ') : each)).join('\n')
}

function tableOf(value: object, mark: Mark, depth = 0): TableNode {
  const entries = new Map<string, Entry>()
  // Dotted keys can nest deeper than the parser allows elsewhere; no known key is that deep.
  for (const [name, each] of depth > MAX_DEPTH ? [] : Object.entries(value)) {
    const inside = mark.entries.get(name) as Mark
    entries.set(name, { at: inside.at, node: nodeOf(each, inside, depth + 1) })
  }
  return { kind: 'table', at: mark.valueAt, entries }
}

function nodeOf(value: unknown, mark: Mark, depth: number): Node {
  const at = mark.valueAt
  if (Array.isArray(value)) {
    return { kind: 'list', at, items: value.map((each, index) => nodeOf(each, mark.items[index] as Mark, depth + 1)) }
  }
  if (value instanceof Date) {
    const type = 'date'
    return { kind: 'scalar', at, value: value.toISOString(), type, variables: [] }
  }
  if (typeof value === 'object' && value !== null) return tableOf(value, mark, depth)
  const scalar = value as ScalarNode['value']
  const small = typeof scalar === 'bigint' && Number.isSafeInteger(Number(scalar))
  return { kind: 'scalar', at, value: small ? Number(scalar) : scalar, type: typeOf(scalar), variables: [] }
}

function typeOf(value: ScalarNode['value']): ScalarNode['type'] {
  if (typeof value === 'string') return 'text'
  if (typeof value === 'boolean') return 'boolean'
  return typeof value === 'bigint' ? 'whole number' : 'number'
}
