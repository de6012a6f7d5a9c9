import type { OptionSpec, WordSpec } from './schema.ts'

/** An option as every output format of the manual needs it. */
export type ManualOption = WordSpec & Partial<OptionSpec>

/** The first sentence of a meaning, without its full stop, as `--help` shows it. */
export function summaryOf({ meaning }: ManualOption): string {
  const end = /\.(?=\s|$)/.exec(meaning)
  return end === null ? meaning : meaning.slice(0, end.index)
}

/** The paragraphs that explain an option: its meaning, then facts about its value. */
export function paragraphsOf(option: ManualOption): string[] {
  const facts: string[] = []
  if (option.unit !== undefined) facts.push(`Unit: ${option.unit}.`)
  const { default: literal, otherwise } = option
  const said = [...(literal === undefined ? [] : [`\`${literal}\``]), ...(otherwise === undefined ? [] : [otherwise])]
  if (said.length > 0) facts.push(`Default: ${said.join('; ')}.`)
  if (option.repeats) facts.push('Can be repeated.')
  if (option.examples !== undefined) {
    const shown = option.examples.map((example) => `\`${example}\``).join(', ')
    facts.push(`${option.examples.length === 1 ? 'Example' : 'Examples'}: ${shown}`)
  }
  const paragraphs = option.meaning.split('\n\n')
  return facts.length === 0 ? paragraphs : [...paragraphs, facts.join(' ')]
}

/** The spellings of an option: `-h`, `--help`. */
export function spellingsOf({ name, short }: ManualOption): string[] {
  return short === undefined ? [name] : [short, name]
}
