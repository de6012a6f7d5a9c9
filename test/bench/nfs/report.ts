import { type Row, shapeName } from './cases.ts'
import type { Mode, Shape } from './settings.ts'

/** What load.c prints of one measurement. */
export interface Measurement {
  /** Operations per second. */
  readonly rate: number
  readonly megabytes: number
  readonly p50us: number
  readonly p99us: number
  /** Processor time of the server for one operation; 0 when it is not on this machine. */
  readonly serverCpuUs: number
  readonly refused: number
  readonly lastStatus: number
  readonly wrong: number
}

/** A row measured in one shape and mode: the rounds of both servers. */
export interface Comparison {
  readonly row: Row
  readonly shape: Shape
  readonly mode: Mode
  readonly peer: readonly Measurement[]
  readonly ours: readonly Measurement[]
}

/** The middle one of `values`; of two the mean. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** overlayd's rate by the peer's: the median of the rounds' ratios, as what slows a round down slows both. */
export function ratioOf({ peer, ours }: Comparison): number | undefined {
  if (peer.length === 0 || peer.some((one) => one.rate === 0)) return undefined
  return median(ours.map((one, round) => one.rate / peer[round].rate))
}

/** The bar that holds for a comparison, undefined when there is none. */
export function barOf({ row, shape, mode }: Comparison): number | undefined {
  return row.barMode === mode ? row.bars[shapeName(shape)] : undefined
}

/** The comparisons whose bar is not reached. */
export function missed(comparisons: readonly Comparison[]): Comparison[] {
  return comparisons.filter((comparison) => {
    const bar = barOf(comparison)
    const ratio = ratioOf(comparison)
    return bar !== undefined && ratio !== undefined && ratio < bar
  })
}

const HEAD = [
  '',
  'peer/s',
  'ours/s',
  'ratio',
  'bar',
  'MB/s',
  'peer p50/p99 µs',
  'ours p50/p99 µs',
  'CPU µs/op peer/ours',
  '',
]

/** The table of one shape and mode. */
export function tableOf(comparisons: readonly Comparison[]): string {
  const lines = [HEAD, ...comparisons.map(cellsOf)]
  const widths = HEAD.map((_, column) => Math.max(...lines.map((cells) => cells[column].length)))
  return lines
    .map((cells) =>
      cells
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function cellsOf(comparison: Comparison): string[] {
  const { row, peer, ours } = comparison
  const ratio = ratioOf(comparison)
  const bar = barOf(comparison)
  const of = (all: readonly Measurement[], what: keyof Measurement, digits = 0): string =>
    all.length === 0 ? '–' : median(all.map((one) => one[what])).toFixed(digits)
  return [
    row.name,
    of(peer, 'rate'),
    of(ours, 'rate'),
    ratio === undefined ? '–' : ratio.toFixed(2),
    bar === undefined ? '' : `${bar.toFixed(1)}${ratio !== undefined && ratio < bar ? ' MISSED' : ''}`,
    median(ours.map((one) => one.megabytes)) === 0 ? '' : of(ours, 'megabytes'),
    `${of(peer, 'p50us')}/${of(peer, 'p99us')}`,
    `${of(ours, 'p50us')}/${of(ours, 'p99us')}`,
    `${of(peer, 'serverCpuUs', 1)}/${of(ours, 'serverCpuUs', 1)}`,
    faultsOf('peer', peer) + faultsOf('ours', ours),
  ]
}

/** What went wrong, if anything: a rate of failures is no speed. */
function faultsOf(who: string, all: readonly Measurement[]): string {
  const refused = all.reduce((sum, one) => sum + one.refused, 0)
  const wrong = all.reduce((sum, one) => sum + one.wrong, 0)
  const status = all.find((one) => one.refused > 0)?.lastStatus
  return `${refused > 0 ? ` ${who}: ${refused} refused (${status})` : ''}${wrong > 0 ? ` ${who}: ${wrong} WRONG` : ''}`
}
