import { OptionError } from '../overlay-core/index.ts'
import type { OptionSpec } from './schema.ts'

/** A command line cut into options and words, before anyone asked what they mean. */
export interface Arguments {
  /** The values of each option given, in order; `''` for a switch. */
  readonly values: ReadonlyMap<string, readonly string[]>
  readonly words: readonly string[]
}

/**
 * Cuts `argv` by the options of `specs`: `--name VALUE`, `--name=VALUE`, `-o VALUE`, `-oVALUE`; after `--` only words.
 *
 * @throws OptionError an unknown option, a missing value, a value for a switch
 */
export function cutArguments(argv: readonly string[], specs: readonly OptionSpec[]): Arguments {
  const byName = new Map<string, OptionSpec>(specs.map((spec) => [spec.name, spec]))
  for (const spec of specs) if (spec.short !== undefined) byName.set(spec.short, spec)
  const values = new Map<string, string[]>()
  const words: string[] = []
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at]!
    if (argument === '--') {
      words.push(...argv.slice(at + 1))
      break
    }
    if (!argument.startsWith('-') || argument === '-') {
      words.push(argument)
      continue
    }
    const { name, attached } = cutOption(argument)
    const spec = byName.get(name)
    if (spec === undefined) throw OptionError.unknown(name, byName.keys())
    const value = valueFor(spec, name, attached, argv[at + 1])
    if (spec.value !== undefined && attached === undefined) at++
    const earlier = values.get(spec.name)
    if (earlier === undefined || !spec.repeats) values.set(spec.name, [value])
    else earlier.push(value)
  }
  return { values, words }
}

/** The value of the option `name`: the one attached to it, else the next argument; `''` for a switch. */
function valueFor(spec: OptionSpec, name: string, attached: string | undefined, next: string | undefined): string {
  if (spec.value === undefined) {
    if (attached !== undefined) throw new OptionError(name, `takes no value; write ${name} alone`)
    return ''
  }
  const value = attached ?? (next?.startsWith('--') ? undefined : next)
  if (value === undefined || value === '') throw new OptionError(name, `needs a value: ${name} ${spec.value}`)
  return value
}

/** `--name=value` and `-nvalue` into their two halves. */
function cutOption(argument: string): { name: string; attached: string | undefined } {
  if (!argument.startsWith('--')) return { name: argument.slice(0, 2), attached: argument.slice(2) || undefined }
  const equals = argument.indexOf('=')
  if (equals < 0) return { name: argument, attached: undefined }
  return { name: argument.slice(0, equals), attached: argument.slice(equals + 1) }
}
