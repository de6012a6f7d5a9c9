import { parseArgs } from 'node:util'

/** An option of a program that people run. `help` says what it does. */
export type ProgramOption = { readonly help: string; readonly hidden?: true } & (
  | { readonly type: 'number'; readonly default: number; readonly least?: number; readonly fraction?: true }
  | { readonly type: 'text'; readonly default: string; readonly value?: string }
  | { readonly type: 'word'; readonly words: readonly string[]; readonly default: string }
  | { readonly type: 'flag' }
)

/** A program that `npm run NAME` starts. */
export interface ProgramText<S> {
  readonly name: string
  /** What it does, in lines as they are printed. */
  readonly about: string
  readonly options: S
}

type Specification = Readonly<Record<string, ProgramOption>>
type Value<O> = O extends { type: 'number' }
  ? number
  : O extends { type: 'flag' }
    ? boolean
    : O extends { words: readonly (infer W)[] }
      ? W
      : string
/** The values of options by their names. */
export type OptionValues<S> = { readonly [K in keyof S]: Value<S[K]> }

/** A mistake in the command line. */
export class UsageError extends Error {}

/** Reads a command line; undefined if it asks for help. @throws UsageError */
export function parseOptions<const S extends Specification>(
  options: S,
  args: readonly string[],
): OptionValues<S> | undefined {
  const known: Record<string, { type: 'boolean' | 'string' }> = { help: { type: 'boolean' } }
  for (const [name, { type }] of Object.entries(options)) known[name] = { type: type === 'flag' ? 'boolean' : 'string' }
  const given = parsed(args, known)
  if (given.help === true) return undefined
  const values: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(options)) values[name] = givenOr(name, option, given[name])
  return values as OptionValues<S>
}

/** Like `parseOptions`, but prints help, or what is wrong, and ends the process then. */
export function readOptions<const S extends Specification>(
  program: ProgramText<S>,
  args: readonly string[] = process.argv.slice(2),
): OptionValues<S> {
  try {
    const values = parseOptions(program.options, args)
    if (values !== undefined) return values
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${program.name}: ${error.message}\nTry npm run ${program.name} -- --help\n`)
    process.exit(2)
  }
  process.stdout.write(helpOf(program))
  process.exit(0)
}

function parsed(
  args: readonly string[],
  options: Record<string, { type: 'boolean' | 'string' }>,
): Record<string, string | boolean | undefined> {
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    // Its other sentences are about positional arguments, of which there are none.
    throw new UsageError((error as Error).message.split('. ')[0])
  }
}

function givenOr(name: string, option: ProgramOption, given: string | boolean | undefined): unknown {
  if (option.type === 'flag') return given === true
  if (typeof given !== 'string') return option.default
  if (option.type === 'text') return given
  if (option.type === 'word') {
    if (option.words.includes(given)) return given
    throw new UsageError(`--${name} needs ${option.words.join(' or ')}, not '${given}'`)
  }
  const { least = 0, fraction } = option
  const form = fraction ? /^\d+(\.\d+)?$/ : /^\d+$/
  if (form.test(given) && Number(given) >= least) return Number(given)
  throw new UsageError(`--${name} needs a ${fraction ? '' : 'whole '}number from ${least} on, not '${given}'`)
}

/** The text that `--help` prints. */
export function helpOf({ name, about, options }: ProgramText<Specification>): string {
  const rows = Object.entries(options)
    .filter(([, { hidden }]) => hidden !== true)
    .map(([option, specification]) => [`--${option}${wordOf(specification)}`, textOf(specification)] as const)
  rows.push(['--help', 'prints this'])
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`)
  return `usage: npm run ${name} -- [OPTIONS]\n\n${about}\n\n${lines.join('\n')}\n`
}

function wordOf(option: ProgramOption): string {
  if (option.type === 'flag') return ''
  if (option.type === 'number') return ' N'
  return option.type === 'word' ? ` ${option.words.join('|')}` : ` ${option.value ?? 'TEXT'}`
}

function textOf(option: ProgramOption): string {
  const known = option.type !== 'flag' && option.default !== '' && option.default !== Number.POSITIVE_INFINITY
  return known ? `${option.help} (default ${option.default})` : option.help
}
