import { parseArgs } from 'node:util'
import { OptionError } from '../overlay-core/index.ts'
import type { OptionSpec } from './schema.ts'

/** A command line split into options and words, before they are interpreted. */
export interface Arguments {
  /** The values of each option given, in order; `''` for a switch. */
  readonly values: ReadonlyMap<string, readonly string[]>
  readonly words: readonly string[]
}

/**
 * Splits `argv` into options and words according to `specs`: `--name VALUE`, `--name=VALUE`, `-o VALUE`, `-oVALUE`; after `--` only words.
 *
 * @throws OptionError an unknown option, a missing value, a value for a switch
 */
export function cutArguments(argv: readonly string[], specs: readonly OptionSpec[]): Arguments {
  const byName = new Map<string, OptionSpec>()
  for (const spec of specs) for (const name of [spec.name, spec.short]) if (name !== undefined) byName.set(name, spec)
  // Not strict, because the messages here also say how to correct the option.
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(specs.map(declaration)),
    strict: false,
    tokens: true,
  })
  const values = new Map<string, string[]>()
  const words: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value)
    if (token.kind !== 'option') continue
    const spec = byName.get(token.rawName)
    if (spec === undefined) throw OptionError.unknown(token.rawName, byName.keys())
    const value = valueFor(spec, token.rawName, token.value, token.inlineValue)
    values.set(spec.name, spec.repeats ? [...(values.get(spec.name) ?? []), value] : [value])
  }
  return { values, words }
}

/** An option in the form that `parseArgs` expects: the long name without hyphens, or the letter if there is no long name. */
function declaration({ name, short, value }: OptionSpec): [string, { type: 'string' | 'boolean'; short?: string }] {
  const letter = (short ?? (name.startsWith('--') ? undefined : name))?.slice(1)
  const type = value === undefined ? 'boolean' : 'string'
  return [name.replace(/^-+/, ''), letter === undefined ? { type } : { type, short: letter }]
}

/** The value of the option, written as `name`; `''` for a switch. */
function valueFor(spec: OptionSpec, name: string, value: string | undefined, attached: boolean | undefined): string {
  if (spec.value === undefined) {
    if (value !== undefined) throw new OptionError(name, `takes no value; use ${name} alone`)
    return ''
  }
  const forgotten = value === undefined || value === '' || (attached === false && value.startsWith('--'))
  if (forgotten) throw new OptionError(name, `needs a value: ${name} ${spec.value}`)
  return value
}
