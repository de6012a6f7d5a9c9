import { nearestWord, OptionError } from '../../overlay-core/index.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ListNode, Node, ScalarNode } from './toml.ts'

/** Reports what is wrong with a value. */
export type Complain = (node: Node, message: string) => void

/** The context in which the texts of a file are read. */
export interface ReadContext {
  /** The effective user id of the server; undefined on a system without user ids. */
  readonly uid: number | undefined
  /** The absolute path of the directory at which relative paths start. */
  readonly directory: string
}

/** A type of value: how it is read, and how it is described. */
export interface ValueType<Value> {
  /** The syntax in the manual: capitals are placeholders, `|` separates choices. */
  readonly shown: string
  /** The requirement, in words that follow "must be". */
  readonly wanted: string
  readonly json: JsonSchema
  /** Returns the value; if it is invalid, complains and returns undefined. */
  read(node: Node, complain: Complain, context: ReadContext): Value | undefined
}

/** The TypeScript type of the values of a value type. */
export type ValueOf<Type> = Type extends ValueType<infer Value> ? Value : never

/** A type whose values are texts that `parse` reads. It throws an OptionError if a text is invalid. */
export function textType<Value>(
  shown: string,
  wanted: string,
  parse: (text: string, context: ReadContext) => Value,
  json: JsonSchema = { type: 'string' },
): ValueType<Value> {
  const type: ValueType<Value> = {
    shown,
    wanted,
    json,
    read(node, complain, context) {
      if (node.kind !== 'scalar' || node.type !== 'text') return refuse(type, node, complain)
      return parsed(node, complain, () => parse(String(node.value), context))
    },
  }
  return type
}

/** A type with a fixed list of words. */
export function choiceType<Word extends string>(words: readonly Word[]): ValueType<Word> {
  const shown = words.map((word) => `"${word}"`)
  const type: ValueType<Word> = {
    shown: shown.join('|'),
    wanted: `${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`,
    json: { enum: words },
    read(node, complain) {
      const text = node.kind === 'scalar' && node.type === 'text' ? String(node.value) : undefined
      const found = words.find((word) => word === text)
      if (found !== undefined) return found
      const near = text === undefined ? undefined : nearestWord(text, words)
      return refuse(type, node, complain, near === undefined ? undefined : `did you mean "${near}"?`)
    },
  }
  return type
}

/** `true` or `false`; also as a text, for a value that came from a variable. */
export const SWITCH: ValueType<boolean> = {
  shown: 'true|false',
  wanted: 'true or false',
  json: { type: 'boolean' },
  read(node, complain) {
    const value = plainOf(node)
    if (value === true || value === 'true') return true
    return value === false || value === 'false' ? false : refuse(SWITCH, node, complain)
  },
}

/** Integers in a range, in a unit that the manual names. */
export function wholeType(least: number, most: number, unit = ''): ValueType<number> {
  const type: ValueType<number> = {
    shown: 'NUMBER',
    wanted: `a whole number${unit} from ${least} to ${most}`,
    json: { type: 'integer', minimum: least, maximum: most },
    read(node, complain) {
      const value = plainOf(node)
      const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value
      const whole = typeof number === 'number' && Number.isInteger(number) && node.kind === 'scalar'
      if (!whole || node.type === 'number') return refuse(type, node, complain)
      return number >= least && number <= most ? number : refuse(type, node, complain)
    },
  }
  return type
}

/** A list of values of one type; each invalid item is reported. */
export function listType<Value>(item: ValueType<Value>, least = 0): ValueType<readonly Value[]> {
  const type: ValueType<readonly Value[]> = {
    shown: `[${item.shown}, …]`,
    wanted: least === 0 ? 'a list' : 'a list with at least one value',
    json: { type: 'array', items: item.json, ...(least > 0 && { minItems: least }) },
    read(node, complain, context) {
      if (node.kind !== 'list') return refuse(type, node, complain, 'write it in [ ]')
      if (node.items.length < least) return refuse(type, node, complain)
      const sound = node.items.filter((each) => each.kind !== 'scalar' || !each.broken)
      const values = sound.map((each) => item.read(each, complain, context))
      return values.filter((value) => value !== undefined)
    },
  }
  return type
}

/** The value of a number or boolean; a text is converted if it came from a variable. */
function plainOf(node: Node): ScalarNode['value'] | undefined {
  if (node.kind !== 'scalar') return undefined
  return node.type === 'text' && node.variables.length === 0 ? undefined : node.value
}

function refuse(type: ValueType<unknown>, node: Node, complain: Complain, mend?: string): undefined {
  complain(node, `must be ${type.wanted}, not ${shownOf(node)}${mend === undefined ? '' : `; ${mend}`}`)
  return undefined
}

function parsed<Value>(node: Node, complain: Complain, parse: () => Value): Value | undefined {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    const message = error.reason
    complain(node, message.includes(shownOf(node)) ? message : `${shownOf(node)}: ${message}`)
    return undefined
  }
}

const SHOWN_CHARS = 80

/** A value as printed in messages. */
export function shownOf(node: Node | ListNode): string {
  if (node.kind === 'table') return 'a table'
  if (node.kind === 'list') return 'a list'
  if (node.type === 'date') return 'a date'
  if (node.type !== 'text') return String(node.value)
  const text = String(node.value)
  return JSON.stringify(text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS)}…`)
}
