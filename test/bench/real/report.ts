import { median } from '../nfs/report.ts'
import type { Workload } from './workloads.ts'

/** One run of a workload on one server. */
export interface Sample {
  readonly seconds: number
  /** Processor time of the server. */
  readonly cpuSeconds: number
}

/** A workload's rounds on both servers; `peer` is empty without one. */
export interface Comparison {
  readonly workload: Workload
  readonly peer: readonly Sample[]
  readonly ours: readonly Sample[]
}

/** No workload may take longer than on the peer. */
const MOST = 1

/** overlayd's time by the peer's, the median of the rounds' ratios; undefined without a peer. */
export function ratioOf({ peer, ours }: Comparison): number | undefined {
  if (peer.length === 0) return undefined
  return median(ours.map(({ seconds }, round) => seconds / peer[round]!.seconds))
}

/** Whether overlayd took longer than its peer. */
export function missed(comparison: Comparison): boolean {
  return (ratioOf(comparison) ?? 0) > MOST
}

const HEAD = ['', 'peer s', 'ours s', 'ratio', 'CPU s peer', 'ours', '']

/** The table of one protocol. */
export function tableOf(comparisons: readonly Comparison[]): string {
  const lines = [HEAD, ...comparisons.map(cellsOf)]
  const widths = HEAD.map((_, column) => Math.max(...lines.map((cells) => cells[column]!.length)))
  const pad = (cell: string, i: number) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))
  return lines.map((cells) => cells.map(pad).join('  ').trimEnd()).join('\n')
}

function cellsOf(comparison: Comparison): string[] {
  const { workload, peer, ours } = comparison
  const of = (samples: readonly Sample[], what: keyof Sample): string =>
    samples.length === 0 ? '–' : median(samples.map((sample) => sample[what])).toFixed(2)
  return [
    workload.name,
    of(peer, 'seconds'),
    of(ours, 'seconds'),
    ratioOf(comparison)?.toFixed(2) ?? '–',
    of(peer, 'cpuSeconds'),
    of(ours, 'cpuSeconds'),
    missed(comparison) ? 'MISSED' : '',
  ]
}
