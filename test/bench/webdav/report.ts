import type { Sample } from './measure.ts'
import type { Scenario } from './scenarios.ts'

/** Samples by scenario name, then by server name, one for each round. */
export type Results = ReadonlyMap<string, ReadonlyMap<string, readonly Sample[]>>

/** One bar: what was asked for and what was reached. */
interface Bar {
  readonly text: string
  readonly reached: boolean
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

function medianOf(samples: readonly Sample[], key: keyof Sample): number {
  return median(samples.map((sample) => sample[key]))
}

/** The tables of a run as Markdown, and the bars that were missed. Ratios are the median of those of the rounds. */
export function report(scenarios: readonly Scenario[], results: Results): { text: string; missed: readonly string[] } {
  const lines: string[] = []
  const bars: Bar[] = []
  for (const scenario of scenarios) {
    const servers = results.get(scenario.name)
    if (servers === undefined) continue
    lines.push(`### ${scenario.title} (${scenario.connections} connections)`, '')
    lines.push(
      `| server | ${scenario.unit} | overlayd / it | CPU µs per request | p50 µs | p99 µs | memory MiB | errors |`,
    )
    lines.push('|---|---|---|---|---|---|---|---|')
    const own = servers.get('overlayd') ?? []
    for (const [name, samples] of servers) {
      const ratio = ratioOf(own, samples)
      const failed = samples.find(({ errors }) => errors > 0)
      lines.push(
        `| ${name} | ${figure(medianOf(samples, 'rate'))} | ${name === 'overlayd' ? '' : ratio.toFixed(2)} | ` +
          `${figure(medianOf(samples, 'cpuUs'))} | ${figure(medianOf(samples, 'p50Us'))} | ${figure(medianOf(samples, 'p99Us'))} | ` +
          `${figure(medianOf(samples, 'memoryMib'))} | ${failed === undefined ? '' : `${failed.errors} (${failed.badStatus})`} |`,
      )
      const wanted = scenario.bars?.[name]
      if (wanted !== undefined) {
        bars.push({
          text: `${scenario.title}: ${ratio.toFixed(2)} × ${name}, wanted ${wanted}`,
          reached: ratio >= wanted,
        })
      }
    }
    lines.push('')
  }
  for (const { text, reached } of bars) lines.push(`${reached ? 'reached' : 'MISSED '}  ${text}`)
  return { text: lines.join('\n'), missed: bars.filter(({ reached }) => !reached).map(({ text }) => text) }
}

function ratioOf(own: readonly Sample[], other: readonly Sample[]): number {
  const ratios = own.flatMap((sample, round) => {
    const peer = other[round]
    return peer === undefined || peer.rate === 0 ? [] : [sample.rate / peer.rate]
  })
  return ratios.length === 0 ? Number.NaN : median(ratios)
}

function figure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}
