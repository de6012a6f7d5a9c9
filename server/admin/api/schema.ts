/** A JSON schema (draft 2020-12, as OpenAPI 3.1 uses it), as far as verbs need it. */
export type Schema =
  | {
      readonly type: 'string'
      readonly description?: string
      readonly enum?: readonly string[]
      readonly format?: string
      readonly minLength?: number
      readonly maxLength?: number
      readonly pattern?: string
    }
  | {
      readonly type: 'integer' | 'number'
      readonly description?: string
      readonly minimum?: number
      readonly maximum?: number
    }
  | { readonly type: 'boolean'; readonly description?: string }
  | { readonly type: 'null' }
  | { readonly type: 'array'; readonly description?: string; readonly items: Schema; readonly maxItems?: number }
  | ObjectSchema
  | MapSchema
  | { readonly anyOf: readonly Schema[]; readonly description?: string }
  /** Any JSON. */
  | { readonly description: string }

/** The schema of an object with known properties. */
export interface ObjectSchema {
  readonly type: 'object'
  readonly description?: string
  readonly properties: { readonly [name: string]: Schema }
  readonly required: readonly string[]
  readonly additionalProperties: false
}

/** The schema of an object with names that are not known beforehand. */
export interface MapSchema {
  readonly type: 'object'
  readonly description?: string
  readonly additionalProperties: Schema
}

/** The names of properties that an object of this type may lack. */
type Optional<Type> = { [Key in keyof Type]-?: object extends Pick<Type, Key> ? Key : never }[keyof Type]

/** A schema of `Type`. The type is only for the compiler. */
export interface SchemaOf<Type> {
  readonly schema: Schema
  readonly type?: Type
}

/**
 * The schema of an object type. The compiler checks that every property is described.
 *
 * @param optional the properties that may be absent
 */
export function objectOf<Type extends object>(
  properties: { readonly [Key in keyof Type]-?: Schema },
  ...optional: readonly Optional<Type>[]
): SchemaOf<Type> & { readonly schema: ObjectSchema } {
  const absent: readonly PropertyKey[] = optional
  const required = Object.keys(properties).filter((key) => !absent.includes(key))
  return {
    schema: { type: 'object', properties: { ...properties }, required, additionalProperties: false },
  }
}

/** The schema of a list. */
export function listOf<Type>({ schema }: SchemaOf<Type>): SchemaOf<readonly Type[]> {
  return { schema: { type: 'array', items: schema } }
}

/** An order that says nothing. */
export const NO_ORDER = objectOf<Record<never, never>>({})

/** A text, described for the API document. */
export function text(description: string): Schema {
  return { type: 'string', description }
}

/** A list of texts, described. */
export function listOfTexts(description: string): Schema {
  return { type: 'array', description, items: { type: 'string' } }
}

/** A whole number from 0, described. */
export function count(description: string): Schema {
  return { type: 'integer', minimum: 0, description }
}

/** A switch, described. */
export function flag(description: string): Schema {
  return { type: 'boolean', description }
}

/** One of some words. */
export function oneOf(description: string, ...words: readonly string[]): Schema {
  return { type: 'string', description, enum: words }
}

/** A point in time, ISO 8601. */
export function time(description: string): Schema {
  return { type: 'string', format: 'date-time', description }
}

/** Numbers by name; groups may nest. */
export const COUNTERS: Schema = {
  type: 'object',
  description: 'Numbers by name; groups may nest.',
  additionalProperties: { description: 'A number, or a group of numbers.' },
}
