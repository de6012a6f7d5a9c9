import type { OptionSpec, WordSpec } from './schema.ts'

/** A term and what it means: one row of a table, or one entry of a list. */
export interface Term {
  readonly name: string
  readonly meaning: string
}

/** One piece of the manual. Texts are Markdown of `code`, *placeholders* and [links](#section). */
export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'code'; readonly lines: readonly string[] }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | { readonly kind: 'terms'; readonly terms: readonly Term[] }
  | {
      readonly kind: 'options'
      readonly options: readonly (WordSpec & Partial<OptionSpec>)[]
      readonly joint: ' ' | '=' | ' = '
    }

/** A section. `overlayd help NAME` prints it; NAME is the title in lower case with hyphens for blanks. */
export interface Section {
  readonly title: string
  readonly blocks: readonly Block[]
}

export const text = (...sentences: string[]): Block => ({ kind: 'text', text: sentences.join(' ') })
export const heading = (title: string): Block => ({ kind: 'heading', text: title })
export const code = (...lines: string[]): Block => ({ kind: 'code', lines })
export const list = (...items: string[]): Block => ({ kind: 'list', items })
export const terms = (entries: Readonly<Record<string, string>>): Block => ({
  kind: 'terms',
  terms: Object.entries(entries).map(([name, meaning]) => ({ name, meaning })),
})
