import type { WordSpec } from '../schema.ts'
import type { ValueType } from './value-types.ts'

/** A key of a table. Validation, `config print`, the JSON schema and the manual are derived from it. Texts are Markdown. */
export interface Key<Value> {
  readonly type: ValueType<Value>
  /** The description. Its first sentence is a summary; an empty line starts a new paragraph. */
  readonly meaning: string
  /** The equivalent option of the command line. */
  readonly option?: string
  /** The default value in the syntax of the file. */
  readonly default?: string
  /** A description of the default, if it depends on something. */
  readonly otherwise?: string
  /** An example value in the syntax of the file. */
  readonly example?: string
  /** Whether the key must be present. */
  readonly required?: true
}

/** The keys of a table by name, in the order of the manual. */
export type Keys = { readonly [name: string]: Key<unknown> }

/** A table of the file. */
export interface Table<Of extends Keys = Keys> {
  readonly name: string
  /** Whether there can be several of them, with names: `[layers.NAME]`. */
  readonly named: boolean
  readonly meaning: string
  readonly keys: Of
  /** The keys of the table itself, beside its named ones: `[layers]` and `[layers.NAME]`. */
  readonly own?: Keys
}

/** A value from the file, and its position. */
export interface Given<Value> {
  readonly value: Value
  /** The offset of the key. */
  readonly at: number
  /** The offset of the value. */
  readonly valueAt: number
  /** The environment variables that were replaced in it. */
  readonly variables: readonly string[]
}

/** The values that a file contains for a table. */
export type ValuesOf<Of extends Keys> = {
  readonly [Name in keyof Of]: Of[Name] extends Key<infer Value> ? Given<Value> | undefined : never
}

/** A table `[X.NAME]` in a file. */
export interface Named<Of extends Keys> {
  readonly name: string
  /** The offset of the name in the header. */
  readonly at: number
  readonly values: ValuesOf<Of>
}

/** The spec of a key, in the form that the pages of the manual print. */
export function wordOf(name: string, key: Key<unknown>): WordSpec {
  const { type, meaning, default: literal, otherwise, example } = key
  return {
    name,
    value: type.shown,
    meaning: key.required ? `${meaning} It is required.` : meaning,
    ...(literal !== undefined && { default: literal }),
    ...(otherwise !== undefined && { otherwise }),
    ...(example !== undefined && { examples: [`${name} = ${example}`] }),
  }
}
