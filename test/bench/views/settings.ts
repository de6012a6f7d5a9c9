import { parseArgs } from 'node:util'

/** The work of one run. */
export interface Settings {
  /** The numbers of views, one round for each. */
  readonly views: readonly number[]
  /** The number of files in the lower. */
  readonly files: number
  /** The directory for lower and views. */
  readonly on: string | undefined
  /** What is measured: overlays in this process, a server through its doors, or both. */
  readonly part: 'core' | 'doors' | 'all'
  readonly bars: boolean
  readonly help: boolean
}

export const HELP = `usage: npm run bench:views -- [OPTIONS]

Opens many overlays over one lower in one process, each with a new upper, and prints for each step the time and processor time per view, the
memory and descriptors per view, and the longest stall of the event loop. Then starts a server with a template of as many views, and prints the time to the
first byte of a new view, and the throughput over many views compared with one. Each figure with a bar is checked against it.

  --views N[,N…]   default 1000,10000: one round for each
  --files N        default 20000: files in the lower
  --on DIR         where lower and views are created; default where temporary files go
  --part PART      core, doors or all (default): overlays in this process, a server through its doors, or both
  --bars           fail (status 1) if a bar is missed
  --help
`

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const

/** Parses the command line. @throws Error with a sentence about what is wrong */
export function readSettings(args: readonly string[]): Settings {
  const options = { views: text, files: text, on: text, part: text, bars: flag, help: flag }
  const { values } = parseArgs({ args: [...args], options })
  return {
    views: (values.views ?? '1000,10000').split(',').map((value) => count('--views', value)),
    files: count('--files', values.files ?? '20000'),
    on: values.on,
    part: partOf(values.part ?? 'all'),
    bars: values.bars === true,
    help: values.help === true,
  }
}

function partOf(value: string): Settings['part'] {
  if (value !== 'core' && value !== 'doors' && value !== 'all')
    throw new Error(`--part needs core, doors or all, not '${value}'`)
  return value
}

function count(option: string, value: string): number {
  if (!/^[1-9]\d{0,6}$/.test(value)) throw new Error(`${option} needs whole numbers from 1 on, not '${value}'`)
  return Number(value)
}
