import type { Attack, Check, Figure } from './attack.ts'

/** What came of one attack. */
export interface Outcome {
  readonly attack: Attack
  readonly figures: readonly Figure[]
  readonly checks: readonly Check[]
  readonly seconds: number
}

/** Figures over their limit and checks that do not hold, one line each. */
export function failuresOf({ figures, checks }: Outcome): string[] {
  return [
    ...figures
      .filter(isOver)
      .map((figure) => `${figure.name}: ${shown(figure)}, not below ${figure.limit} ${figure.unit}`.trimEnd()),
    ...checks.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: no${detail && ` (${detail})`}`),
  ]
}

function isOver({ value, limit }: Figure): boolean {
  return limit !== undefined && !(value < limit)
}

function shown({ value, unit }: Figure): string {
  const digits = Math.abs(value) < 10 && !Number.isInteger(value) ? 1 : 0
  return `${value.toFixed(digits)} ${unit}`.trimEnd()
}

/** One attack, what it may cost, what it cost, and whether that is well. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const rows: [string, string, string, string][] = [['attack', 'limit', 'figure', '']]
  for (const { attack, figures, checks } of outcomes) {
    let name = attack.name
    const row = (limit: string, figure: string, verdict: string) => {
      rows.push([name, limit, figure, verdict])
      name = ''
    }
    for (const figure of figures) {
      const { limit, unit } = figure
      const verdict = limit === undefined ? '' : isOver(figure) ? 'FAILED' : 'ok'
      row(`${figure.name}${limit === undefined ? '' : ` < ${limit} ${unit}`}`.trimEnd(), shown(figure), verdict)
    }
    for (const { name: check, ok, detail } of merged(checks))
      row(check, ok ? 'yes' : `no: ${detail}`, ok ? 'ok' : 'FAILED')
  }
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map(
    ([a, b, c, d]) => `${a.padEnd(widths[0]!)}  ${b.padEnd(widths[1]!)}  ${c.slice(0, 100).padStart(10)}  ${d}`,
  )
  return lines.map((line) => line.trimEnd()).join('\n')
}

/** Checks that were made more than once: one line, the first that failed if any. */
function merged(checks: readonly Check[]): Check[] {
  const byName = new Map<string, Check>()
  for (const check of checks) {
    const known = byName.get(check.name)
    if (known === undefined || known.ok) byName.set(check.name, check)
  }
  return [...byName.values()]
}
