import type { WordSpec } from '../schema.ts'
import type { ValueType } from './value-types.ts'

/** A key of a table: what the validation, `config print`, the JSON schema and the manual are made of. Texts are Markdown. */
export interface Key<Value> {
  readonly type: ValueType<Value>
  /** What it does. The first sentence is a summary; an empty line starts a new paragraph. */
  readonly meaning: string
  /** The option of the command line that says the same. */
  readonly option?: string
  /** The value that counts when none is given, as it stands in a file. */
  readonly default?: string
  /** The default in words, where it depends on something. */
  readonly otherwise?: string
  /** A value as it stands in a file. */
  readonly example?: string
  /** It cannot be left out. */
  readonly required?: true
  /** Why it is refused: this version knows the word and cannot do it. */
  readonly later?: string
}

/** The keys of a table by name, in the order of the manual. */
export type Keys = { readonly [name: string]: Key<unknown> }

/** A table of the file. */
export interface Table<Of extends Keys = Keys> {
  readonly name: string
  /** Whether there are many of them, by name: `[layers.NAME]`. */
  readonly named: boolean
  readonly meaning: string
  readonly keys: Of
}

/** A value that was given, and where. */
export interface Given<Value> {
  readonly value: Value
  /** Offset of the key. */
  readonly at: number
  /** Offset of the value. */
  readonly valueAt: number
  /** The environment variables in it. */
  readonly variables: readonly string[]
}

/** What a file gives of a table. */
export type ValuesOf<Of extends Keys> = {
  readonly [Name in keyof Of]: Of[Name] extends Key<infer Value> ? Given<Value> | undefined : never
}

/** A table `[X.NAME]` of a file. */
export interface Named<Of extends Keys> {
  readonly name: string
  /** Offset of the name in its header. */
  readonly at: number
  readonly values: ValuesOf<Of>
}

/** The key of a spec, as the pages of the manual show it. */
export function wordOf(name: string, key: Key<unknown>): WordSpec {
  const { type, meaning, default: literal, otherwise, example, later } = key
  const said = later === undefined ? meaning : `${meaning}\n\n*Not in this version:* ${later}`
  return {
    name,
    value: type.shown,
    meaning: key.required ? `${said} It is required.` : said,
    ...(literal !== undefined && { default: literal }),
    ...(otherwise !== undefined && { otherwise }),
    ...(example !== undefined && { examples: [`${name} = ${example}`] }),
  }
}
