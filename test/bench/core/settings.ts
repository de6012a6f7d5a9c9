import { parseArgs } from 'node:util'

/** What one run does. */
export interface Settings {
  readonly rounds: number
  /** Only workloads with one of these in their name; empty: all. */
  readonly only: readonly string[]
  /** Where the layers are made; undefined: on file systems of their own. */
  readonly on: string | undefined
  readonly tiny: boolean
  readonly bars: boolean
  readonly help: boolean
}

export const HELP = `usage: npm run bench:core -- [OPTIONS]

Measures overlay-core beside plain calls of node:fs and beside the kernel's overlay, over the same layers, in turn. Prints the medians of
the rounds and the ratio of overlay-core to the kernel, which is the median of the rounds' ratios. Needs root, mkfs.ext4 and mkfs.xfs, and 12 GiB
of disk where temporary files go; takes some ten minutes.

  --rounds N            default 5; one more before them does not count
  --only TEXT[,TEXT…]   only rows with one of these in their name, for example 'copy-up of 4 KiB,getattr'
  --on DIR              where the layers are made; default a new ext4 with a journal, in an image where temporary files go. What shares
                        blocks, and the tree of a million files, always have a new xfs there.
  --bars                fails (status 1) when an aim is missed
  --tiny                little work in one round: tries whether everything runs, the figures mean nothing
  --help
`

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const OPTIONS = { rounds: text, only: text, on: text, tiny: flag, bars: flag, help: flag }

/** Reads the command line. @throws Error with what is wrong, in one sentence */
export function readSettings(args: readonly string[]): Settings {
  const { values } = parseArgs({ args: [...args], options: OPTIONS })
  const tiny = values.tiny === true
  return {
    rounds: count('--rounds', values.rounds ?? (tiny ? '1' : '5')),
    only: (values.only ?? '').split(',').filter((part) => part !== ''),
    on: values.on,
    tiny,
    bars: values.bars === true,
    help: values.help === true,
  }
}

/** Which of `names` are meant. @throws Error something in `only` is in none of them */
export function chosen(names: readonly string[], only: readonly string[]): string[] {
  for (const part of only) {
    if (names.some((name) => name.includes(part))) continue
    throw new Error(`--only: no row has '${part}' in its name; there are:\n  ${names.join('\n  ')}`)
  }
  return names.filter((name) => only.length === 0 || only.some((part) => name.includes(part)))
}

function count(option: string, value: string): number {
  if (!/^[1-9]\d{0,3}$/.test(value)) throw new Error(`${option} needs a whole number from 1 on, not '${value}'`)
  return Number(value)
}
