import { OptionError } from '../overlay-core/index.ts'
import { MANUAL, SYNOPSIS } from './manual.ts'
import type { Section } from './manual-blocks.ts'
import { type ManualOption, spellingsOf, summaryOf } from './manual-option.ts'
import { plain, plainOption, plainSections, wrapped } from './manual-text.ts'
import { EXPORT_OPTIONS, OVERLAY_OPTIONS } from './mount-words.ts'
import { OPTION_GROUPS, SERVE_OPTIONS } from './schema.ts'

/** The column in which summaries start in a list of options. */
const COLUMN = 30

/** The output of `--help`: every option in a line or two. */
export function helpText(): string {
  return `overlayd serves an overlay of directories over WebDAV and NFSv3.

USAGE
${SYNOPSIS.map((line) => `  ${line}`).join('\n')}

${OPTION_GROUPS.map((group) => `${group.toUpperCase()}\n${groupText(group)}`).join('\n\n')}

EXAMPLE
  overlayd -o lowerdir=/usr/share,upperdir=/srv/share/upper,workdir=/srv/share/work share

MORE
  overlayd help OPTION          explains an option: overlayd help --export, overlayd help revalidate
  overlayd help TOPIC           explains one of:
                                ${wrapped(topics().slice(0, -1).join(', '), 32).trimStart()}
  overlayd help manual          prints the whole manual
`
}

/**
 * The output of `overlayd help TOPIC`: a section of the manual, or an option in any spelling (`--nfs`, `nfs`, `-o`, `lowerdir`). With dashes it is an option only.
 *
 * @throws OptionError there is no such topic
 */
export function helpOn(topic: string): string {
  const word = topic.toLowerCase().replace(/^-+/, '').replace(/=.*$/, '')
  if (word === 'manual') return plainSections(MANUAL)
  const found = [
    ...SECTIONS.filter((section) => !topic.startsWith('-') && nameOf(section) === word).map((section) =>
      plainSections([section]),
    ),
    ...entries(SERVE_OPTIONS, word, ' '),
    ...entries(OVERLAY_OPTIONS, word, '='),
    ...entries(EXPORT_OPTIONS, word, '='),
  ]
  if (found.length === 0) throw OptionError.unknown(topic, [...topics(), ...optionNames()], 'topic of overlayd help')
  return found.join('\n')
}

/** The sections that `overlayd help` knows by name. */
const SECTIONS = MANUAL.filter(
  ({ title }) => !['NAME', 'SYNOPSIS', 'DESCRIPTION', 'OPTIONS', 'SEE ALSO'].includes(title),
)

function nameOf({ title }: Section): string {
  return title.toLowerCase().replaceAll(' ', '-')
}

function topics(): string[] {
  return [...SECTIONS.map(nameOf), 'manual']
}

function optionNames(): string[] {
  return [...SERVE_OPTIONS, ...OVERLAY_OPTIONS, ...EXPORT_OPTIONS].map(({ name }) => name)
}

function entries(options: readonly ManualOption[], word: string, joint: string): string[] {
  const named = options.filter((option) =>
    spellingsOf(option).some((name) => name.toLowerCase().replace(/^-+/, '') === word),
  )
  return named.map((option) => `${plainOption(option, joint)}\n`)
}

function groupText(group: (typeof OPTION_GROUPS)[number]): string {
  return SERVE_OPTIONS.filter((option) => option.group === group)
    .map(line)
    .join('\n')
}

/** An option with its summary beside it, or below it where the option is long. */
function line(option: ManualOption): string {
  const head = `  ${spellingsOf(option).join(', ')}${option.value === undefined ? '' : ` ${option.value}`}`
  const shown = option.default === undefined ? '' : ` [${option.default}]`
  const summary = wrapped(`${plain(summaryOf(option))}${shown}`, COLUMN)
  return head.length < COLUMN - 1 ? head.padEnd(COLUMN) + summary.trimStart() : `${head}\n${summary}`
}
