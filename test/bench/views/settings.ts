import { parseArgs } from 'node:util'

/** The work of one run. */
export interface Settings {
  /** The numbers of views, one round for each. */
  readonly views: readonly number[]
  /** The number of files in the lower. */
  readonly files: number
  /** The directory for lower and views. */
  readonly on: string | undefined
  readonly bars: boolean
  readonly help: boolean
}

export const HELP = `usage: npm run bench:views -- [OPTIONS]

Opens many overlays over one lower in one process, each with a new upper, and prints for each step the time and processor time per view, the
memory and descriptors per view, and the longest stall of the event loop. Each figure with a bar is checked against it.

  --views N[,N…]   default 1000,10000: one round for each
  --files N        default 20000: files in the lower
  --on DIR         where lower and views are created; default where temporary files go
  --bars           fail (status 1) if a bar is missed
  --help
`

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const

/** Parses the command line. @throws Error with a sentence about what is wrong */
export function readSettings(args: readonly string[]): Settings {
  const options = { views: text, files: text, on: text, bars: flag, help: flag }
  const { values } = parseArgs({ args: [...args], options })
  return {
    views: (values.views ?? '1000,10000').split(',').map((value) => count('--views', value)),
    files: count('--files', values.files ?? '20000'),
    on: values.on,
    bars: values.bars === true,
    help: values.help === true,
  }
}

function count(option: string, value: string): number {
  if (!/^[1-9]\d{0,6}$/.test(value)) throw new Error(`${option} needs whole numbers from 1 on, not '${value}'`)
  return Number(value)
}
