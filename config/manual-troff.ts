import type { Block, Section } from './manual-blocks.ts'
import { type ManualOption, paragraphsOf, spellingsOf } from './manual-option.ts'

/** The contents of the header and footer of a manual page. */
export interface PageTitle {
  /** The name in capitals and the section: `OVERLAYD 1`. */
  readonly page: string
  /** The name of the section: `User Commands`. */
  readonly volume: string
  /** The sources that the page is generated from. */
  readonly sources: string
  readonly version: string
  /** The day of the last change, `YYYY-MM-DD`. */
  readonly date: string
}

/** A manual as a man page in man(7) macros. */
export function troffOf(sections: readonly Section[], { page, volume, sources, version, date }: PageTitle): string {
  const lines = [
    `.\\" Generated from ${sources} by npm run docs.`,
    `.TH ${page} ${date} "overlayd ${version}" "${volume}"`,
  ]
  for (const { title, blocks } of sections) {
    lines.push(`.SH ${title}`)
    for (const [at, part] of blocks.entries()) {
      const first = at === 0 || blocks[at - 1]?.kind === 'heading'
      lines.push(...block(part, first))
    }
  }
  return `${lines.join('\n')}\n`
}

/** The lines of one block. `first` means right below a heading, where the empty line is omitted. */
function block(part: Block, first: boolean): string[] {
  const gap = first ? [] : ['.PP']
  switch (part.kind) {
    case 'text':
      return [...gap, inline(part.text)]
    case 'heading':
      return [`.SS ${escaped(part.text)}`]
    case 'code':
      return [...gap, '.nf', ...part.lines.map((line) => atStart(escaped(line, true))), '.fi']
    case 'list':
      return part.items.flatMap((item) => ['.IP \\(bu 3', inline(item)])
    case 'terms':
      return part.terms.flatMap(({ name, meaning }) => ['.TP', inline(name), inline(meaning)])
    case 'options':
      return part.options.flatMap((option) => entry(option, part.joint))
  }
}

function entry(option: ManualOption, joint: string): string[] {
  const names = spellingsOf(option).map((name) => `\\fB${escaped(name, true)}\\fP`)
  const value = option.value === undefined ? '' : `${joint}\\fI${escaped(option.value, true)}\\fP`
  const [first = '', ...more] = paragraphsOf(option).map(inline)
  return ['.TP', `${names.join(', ')}${value}`, first, ...more.flatMap((text) => ['.IP', text])]
}

/** A paragraph of Markdown as one line of troff: code in bold, placeholders in italics, links as their text. */
function inline(markdown: string): string {
  const unlinked = markdown.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1')
  const pieces = unlinked.split(/(`[^`]+`|\*[^*`]+\*)/).map((piece) => {
    if (piece.startsWith('`')) return `\\fB${escaped(piece.slice(1, -1), true)}\\fP`
    if (piece.length > 2 && piece.startsWith('*')) return `\\fI${escaped(piece.slice(1, -1))}\\fP`
    return escaped(piece)
  })
  return atStart(pieces.join(''))
}

/** Escapes characters that troff would interpret; in `literal` text a hyphen is a minus. */
function escaped(text: string, literal = false): string {
  const special: Readonly<Record<string, string>> = {
    '\\': '\\e',
    '-': literal ? '\\-' : '-',
    "'": literal ? '\\(aq' : "'",
    '"': '\\(dq',
    '`': '\\(ga',
    '~': '\\(ti',
    '^': '\\(ha',
    '…': '...',
  }
  return [...text].map((char) => special[char] ?? (char > '~' ? `\\[u${hex(char)}]` : char)).join('')
}

function hex(char: string): string {
  return (char.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')
}

/** Puts an empty character before a line that troff would take for a request. */
function atStart(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line
}
