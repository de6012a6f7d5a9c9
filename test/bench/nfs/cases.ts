import { KINDS, type Kind } from './layers.ts'
import type { BenchSettings, Mode, Shape } from './settings.ts'

/** One row of the table: an operation of load.c on one kind of files. */
export interface Row {
  readonly operation: string
  readonly kind: Kind
  /** What it is called in the table and in `--only`. */
  readonly name: string
  /** The least ratio overlayd/peer by shape, in the mode where peer and overlayd promise the same. */
  readonly bars: Readonly<Record<string, number>>
  readonly barMode: Mode
  /** Changes something: measured with sync too. */
  readonly writes: boolean
}

interface OperationSpec {
  readonly operation: string
  readonly title: string
  readonly kinds: readonly Kind[]
  readonly bars?: Readonly<Record<string, number>>
  /** Its answer promises something durable: with async that means nothing, so that the bar is for sync. */
  readonly promises?: true
  readonly writes?: true
}

const WRITABLE: readonly Kind[] = ['upper', 'copied']

const OPERATIONS: readonly OperationSpec[] = [
  { operation: 'null', title: 'NULL', kinds: ['lower'] },
  { operation: 'getattr', title: 'GETATTR', kinds: KINDS, bars: { '4x16': 4, '1x1': 1 } },
  { operation: 'access', title: 'ACCESS', kinds: KINDS, bars: { '4x16': 4 } },
  { operation: 'lookup', title: 'LOOKUP', kinds: KINDS, bars: { '4x16': 4 } },
  { operation: 'readdirplus', title: 'READDIRPLUS 1,000', kinds: KINDS, bars: { '4x16': 1.5 } },
  { operation: 'read4k', title: 'READ 4 KiB', kinds: KINDS, bars: { '4x16': 3, '1x1': 1 } },
  { operation: 'read1m', title: 'READ 1 MiB', kinds: KINDS, bars: { '4x16': 1.1 } },
  { operation: 'write4k', title: 'WRITE 4 KiB', kinds: WRITABLE, bars: { '4x16': 2 }, writes: true },
  {
    operation: 'write4k-sync',
    title: 'WRITE 4 KiB FILE_SYNC',
    kinds: WRITABLE,
    bars: { '4x16': 1.1 },
    promises: true,
    writes: true,
  },
  {
    operation: 'write1m',
    title: 'WRITE 1 MiB + COMMIT',
    kinds: WRITABLE,
    bars: { '4x16': 1.1 },
    promises: true,
    writes: true,
  },
  { operation: 'create', title: 'CREATE + REMOVE', kinds: ['upper'], bars: { '4x16': 2 }, writes: true },
]

/** The rows that `settings` ask for. */
export function rowsFor({ only }: BenchSettings): Row[] {
  const rows = OPERATIONS.flatMap(({ operation, title, kinds, bars = {}, promises, writes }) =>
    kinds.map(
      (kind): Row => ({
        operation,
        kind,
        name: kinds.length === 1 ? title : `${title}, ${kind}`,
        bars,
        barMode: promises ? 'sync' : 'async',
        writes: writes === true,
      }),
    ),
  )
  if (only.length === 0) return rows
  return rows.filter((row) => only.some((words) => words.split(' ').every((word) => matches(row, word.toLowerCase()))))
}

function matches(row: Row, word: string): boolean {
  return word === row.operation || word === row.kind || row.name.toLowerCase().split(/[ ,]+/).includes(word)
}

/** How a shape is written. */
export function shapeName({ connections, requests }: Shape): string {
  return `${connections}x${requests}`
}
