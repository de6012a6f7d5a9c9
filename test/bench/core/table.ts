import type { Result } from './measure.ts'

const COLUMNS = [44, 12, 16, 14, 8, 12]

/** The head of the table that `line` fills. */
export function head(): string {
  const names = ['', 'node:fs', 'kernel overlay', 'overlay-core', 'ratio', 'aim']
  return row(names)
}

/** One result as a line: the medians of the three sides, core by kernel, and, unless the work was `tiny`, whether the aim was met. */
export function line({ workload, plain, kernel, core, ratio, note }: Result, tiny: boolean): string {
  const show = workload.unit === 'bytes' ? bytes : time
  const side = (value: number | undefined) => (value === undefined ? '–' : show(value))
  const ratioText = ratio === undefined ? '–' : ratio.toFixed(2)
  const text = row([workload.name, side(plain), side(kernel), side(core), ratioText, aimText(workload, show)])
  const verdict = tiny || met({ workload, core, ratio }) ? '' : '  MISSED'
  return text + verdict + (note === '' ? '' : `\n    ${note}`)
}

/** Whether the aim of a workload was met; also when it has none. */
export function met({ workload, core, ratio }: Pick<Result, 'workload' | 'core' | 'ratio'>): boolean {
  const { aim } = workload
  if (!aim) return true
  return aim.of === 'core' ? core < aim.most : ratio !== undefined && ratio <= aim.most
}

function aimText({ aim }: Result['workload'], show: (value: number) => string): string {
  if (!aim) return ''
  return aim.of === 'core' ? `< ${show(aim.most)}` : `≤ ${aim.most} ×`
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(COLUMNS[i]!) : cell.padStart(COLUMNS[i]!))).join('')
}

function time(ns: number): string {
  if (ns < 1e3) return `${ns.toFixed(0)} ns`
  if (ns < 1e6) return `${(ns / 1e3).toPrecision(3)} µs`
  if (ns < 1e9) return `${(ns / 1e6).toPrecision(3)} ms`
  return `${(ns / 1e9).toPrecision(3)} s`
}

function bytes(count: number): string {
  return count < 2 ** 20 ? `${count.toFixed(0)} B` : `${(count / 2 ** 20).toFixed(0)} MiB`
}
