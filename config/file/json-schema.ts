import { plain } from '../manual-text.ts'
import { NAME_PATTERN } from '../option-values.ts'
import type { Key, Keys, Table } from './key.ts'

/** The parts of JSON Schema that are used (draft 7, which TOML editors understand). */
export interface JsonSchema {
  readonly [word: string]: unknown
}

/** Builds the JSON schema of a configuration file, for editors: deploy/overlayd.schema.json. */
export function schemaOf(tables: readonly Table[]): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'overlayd.toml',
    description: 'The configuration file of overlayd, see overlayd.toml(5).',
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(tables.map((table) => [table.name, schemaOfTable(table)])),
  }
}

function schemaOfTable({ named, meaning, keys, own = {} }: Table): JsonSchema {
  const one = {
    type: 'object',
    additionalProperties: false,
    properties: propertiesOf(keys),
    required: Object.entries(keys).flatMap(([name, { required }]) => (required ? [name] : [])),
  }
  const description = plain(meaning)
  if (!named) return { description, ...one }
  return {
    description,
    type: 'object',
    additionalProperties: false,
    ...(Object.keys(own).length > 0 && { properties: propertiesOf(own) }),
    patternProperties: { [patternOfNames(Object.keys(own))]: one },
  }
}

/** Names of tables, apart from the keys that are beside them. */
function patternOfNames(keys: readonly string[]): string {
  return keys.length === 0 ? NAME_PATTERN : NAME_PATTERN.replace('^', `^(?!(${keys.join('|')})$)`)
}

function propertiesOf(keys: Keys): JsonSchema {
  return Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, schemaOfKey(key)]))
}

function schemaOfKey({ type, meaning, default: literal }: Key<unknown>): JsonSchema {
  return {
    ...withVariables(type.json),
    description: plain(meaning),
    ...(literal !== undefined && { default: JSON.parse(literal) }),
  }
}

/** Also allows a text with a variable where a number or boolean is expected. */
function withVariables(json: JsonSchema): JsonSchema {
  if (json.type !== 'boolean' && json.type !== 'integer') return json
  return { anyOf: [json, { type: 'string', pattern: '\\$\\{' }] }
}
