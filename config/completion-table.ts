import { MANUAL } from './manual.ts'
import type { Section } from './manual-blocks.ts'
import { FILE_OPTIONS, type OptionSpec, PRINT_OPTIONS, SERVE_OPTIONS } from './schema.ts'

/** A command as shells complete it: its words, and its options. */
export interface CompletedCommand {
  /** Such as `view list`; empty for the server without a word. */
  readonly words: string
  readonly options: readonly OptionSpec[]
}

/** Commands whose manual leaves out options that it explains elsewhere. */
const ALL_OPTIONS: Readonly<Record<string, readonly OptionSpec[]>> = {
  serve: FILE_OPTIONS,
  'config check': [],
  'config print': PRINT_OPTIONS,
}

/** All commands of the manual, in its order: those that begin the usage of a section. */
export function completedCommands(manual: readonly Section[] = MANUAL): readonly CompletedCommand[] {
  const found = new Map<string, readonly OptionSpec[]>([['', SERVE_OPTIONS]])
  for (const { title, blocks } of manual) {
    const [first] = blocks
    if (first?.kind !== 'code' || title === 'SYNOPSIS') continue
    const options = blocks.flatMap((block) => (block.kind === 'options' ? (block.options as OptionSpec[]) : []))
    for (const line of first.lines)
      for (const words of commandsIn(line)) found.set(words, ALL_OPTIONS[words] ?? options)
  }
  found.set('help', [])
  return [...found].map(([words, options]) => ({ words, options }))
}

/** The commands in a line of usage: `overlayd view create|show TEMPLATE/NAME [--json]` has `view create` and `view show`. */
function commandsIn(line: string): string[] {
  const [program, ...words] = line.split(' ')
  if (program !== 'overlayd') return []
  const end = words.findIndex((word) => !/^[a-z][a-z-]*(\|[a-z][a-z-]*)*$/.test(word))
  const fixed = words.slice(0, end < 0 ? undefined : end)
  if (fixed.length === 0) return []
  return fixed.reduce<string[]>(
    (begun, word) => begun.flatMap((each) => word.split('|').map((next) => `${each} ${next}`.trim())),
    [''],
  )
}

/** What follows an option: nothing, one of some words, a file, a directory, or anything. */
export type Follower =
  | { readonly kind: 'none' | 'file' | 'directory' | 'any' }
  | { readonly kind: 'words'; readonly words: readonly string[] }

/** What follows an option, by the notation of its value: small words are choices, `FILE` and `DIR` are paths. */
export function followerOf({ value }: OptionSpec): Follower {
  if (value === undefined) return { kind: 'none' }
  if (/^(FILE|CERTIFICATE)\b/.test(value)) return { kind: 'file' }
  if (/^DIR\b/.test(value)) return { kind: 'directory' }
  const words = value.split('|').filter((word) => /^[a-z][a-z-]*$/.test(word))
  return words.length > 0 ? { kind: 'words', words } : { kind: 'any' }
}
