import type { Block, Section } from './manual-blocks.ts'
import { type ManualOption, paragraphsOf, spellingsOf } from './manual-option.ts'

/** The width of terminal output, in columns. */
export const WIDTH = 100

/** Formats sections of the manual for a terminal. */
export function plainSections(sections: readonly Section[]): string {
  return sections.map(({ title, blocks }) => `${title}\n${blocks.map(block).join('\n\n')}\n`).join('\n')
}

/** Formats one option in full for a terminal. */
export function plainOption(option: ManualOption, joint: string): string {
  const head = spellingsOf(option).join(', ')
  const title = option.value === undefined ? head : `${head}${joint}${option.value}`
  return [`  ${title}`, ...paragraphsOf(option).map((text) => wrapped(plain(text), 6))].join('\n')
}

/** Removes the markup from Markdown. */
export function plain(markdown: string): string {
  return markdown
    .replace(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .split(/(`[^`]+`|\*[^*`]+\*)/)
    .map((piece) => (piece.length > 2 && /^[`*]/.test(piece) ? piece.slice(1, -1) : piece))
    .join('')
}

/** Wraps `text` into lines of at most `WIDTH` columns, each indented by `indent` blanks. */
export function wrapped(text: string, indent: number, firstIndent = indent): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.map((words, at) => ' '.repeat(at === 0 ? firstIndent : indent) + words).join('\n')
}

function block(part: Block): string {
  switch (part.kind) {
    case 'text':
      return wrapped(plain(part.text), 2)
    case 'heading':
      return ` ${part.text}`
    case 'code':
      return part.lines.map((line) => `    ${line}`).join('\n')
    case 'list':
      return part.items.map((item) => wrapped(`- ${plain(item)}`, 4, 2)).join('\n')
    case 'terms':
      return part.terms.map(({ name, meaning }) => `  ${plain(name)}\n${wrapped(plain(meaning), 6)}`).join('\n')
    case 'options':
      return part.options.map((option) => plainOption(option, part.joint)).join('\n')
  }
}
