import type { Block, Section } from './manual-blocks.ts'
import { type ManualOption, paragraphsOf, spellingsOf } from './manual-option.ts'

/** A manual as a page of Markdown. `sources`: what it is generated from. */
export function markdownOf(title: string, sources: string, sections: readonly Section[]): string {
  const parts = [`# ${title}`, `<!-- Generated from ${sources} by \`npm run docs\`. -->`]
  for (const { title, blocks } of sections) parts.push(`## ${title}`, ...blocks.map(block))
  return `${parts.join('\n\n')}\n`
}

function block(part: Block): string {
  switch (part.kind) {
    case 'text':
      return part.text
    case 'heading':
      return `### ${part.text}`
    case 'code':
      return ['```sh', ...part.lines, '```'].join('\n')
    case 'list':
      return part.items.map((item) => `- ${item}`).join('\n')
    case 'terms':
      return [
        '| | |',
        '|---|---|',
        ...part.terms.map(({ name, meaning }) => `| ${name} | ${meaning.replaceAll('|', '\\|')} |`),
      ].join('\n')
    case 'options':
      return part.options.map((option) => entry(option, part.joint)).join('\n')
  }
}

/** An item of a list, because GitHub has no definition lists. */
function entry(option: ManualOption, joint: string): string {
  const names = spellingsOf(option).map((name) => `**\`${name}\`**`)
  const head = option.value === undefined ? names.join(', ') : `${names.join(', ')}\`${joint}${option.value}\``
  // A blank at the edge of code would be shown, so it is placed outside.
  const title = head.replace('**` ', '** `')
  return `- ${title}\n\n${paragraphsOf(option)
    .map((paragraph) => `  ${paragraph}`)
    .join('\n\n')}\n`
}
