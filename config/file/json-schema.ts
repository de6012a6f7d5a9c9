import { plain } from '../manual-text.ts'
import { NAME_PATTERN } from '../option-values.ts'
import type { Key, Table } from './key.ts'

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

function schemaOfTable({ named, meaning, keys }: Table): JsonSchema {
  const one = {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, schemaOfKey(key)])),
    required: Object.entries(keys).flatMap(([name, { required }]) => (required ? [name] : [])),
  }
  const description = plain(meaning)
  if (!named) return { description, ...one }
  return { description, type: 'object', additionalProperties: false, patternProperties: { [NAME_PATTERN]: one } }
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
