/** One line of the text format: a name, its labels, and a value. */
export interface MetricLine {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Metrics as Prometheus reads them. */
export interface ReadMetrics {
  readonly types: ReadonlyMap<string, string>
  readonly lines: readonly MetricLine[]
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\\\n]|\\\\["\\\\n])*)"'
const LINE = new RegExp(`^(${NAME})(?:\\{((?:${LABEL},?)*)\\})? (\\S+)$`)
const SUFFIXES = /_(bucket|sum|count)$/

/** Reads the Prometheus text format 0.0.4 and checks what `promtool check metrics` checks. @throws Error a line breaks the format */
export function readMetrics(text: string): ReadMetrics {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const types = new Map<string, string>()
  const helped = new Set<string>()
  const lines: MetricLine[] = []
  const seen = new Set<string>()
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, kind, name = '', rest = ''] = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line) ?? []
    if (kind === 'HELP') {
      if (helped.has(name)) throw new Error(`${name} has two HELP lines`)
      helped.add(name)
    } else if (kind === 'TYPE') {
      if (types.has(name)) throw new Error(`${name} has two TYPE lines`)
      if (!['counter', 'gauge', 'histogram'].includes(rest)) throw new Error(`${name} has the type ${rest}`)
      types.set(name, rest)
    } else {
      const read = lineOf(line)
      const key = line.slice(0, line.lastIndexOf(' '))
      if (seen.has(key)) throw new Error(`${key} comes twice`)
      seen.add(key)
      const family = types.get(read.name) ?? types.get(read.name.replace(SUFFIXES, ''))
      if (family === undefined) throw new Error(`${read.name} has no TYPE line before it`)
      if (family === 'counter' && !read.name.endsWith('_total'))
        throw new Error(`the counter ${read.name} needs _total`)
      lines.push(read)
    }
  }
  for (const name of types.keys()) if (!helped.has(name)) throw new Error(`${name} has no HELP line`)
  return { types, lines }
}

function lineOf(line: string): MetricLine {
  const match = LINE.exec(line)
  if (match === null) throw new Error(`not a line of the format: ${line}`)
  const labels = Object.fromEntries([...(match[2] ?? '').matchAll(new RegExp(LABEL, 'g'))].map(([, k, v]) => [k, v]))
  const value = Number(match.at(-1))
  if (Number.isNaN(value)) throw new Error(`not a number: ${line}`)
  return { name: match[1] as string, labels: labels as Record<string, string>, value }
}
