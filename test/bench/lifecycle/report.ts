import { STEPS, type Step, type Times } from './round.ts'

/** The table of medians, and a way to one of them. */
export function report(measured: ReadonlyMap<number, ReadonlyMap<Step, readonly Times[]>>): {
  readonly text: string
  medianOf(changes: number, step: Step): Times
} {
  const medianOf = (changes: number, step: Step): Times => {
    const times = measured.get(changes)?.get(step) ?? []
    return { elapsedMs: median(times.map((each) => each.elapsedMs)), cpuMs: median(times.map((each) => each.cpuMs)) }
  }
  const sizes = [...measured.keys()]
  const head = ['ms: median (processor time)', ...sizes.map((changes) => `${changes.toLocaleString('en')} changes`)]
  const rows = STEPS.map((step) => [
    step,
    ...sizes.map((changes) => {
      const { elapsedMs, cpuMs } = medianOf(changes, step)
      return `${elapsedMs.toFixed(1)} (${cpuMs.toFixed(1)})`
    }),
  ])
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`)
  return { text: lines.join(''), medianOf }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}
