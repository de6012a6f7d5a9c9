import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { LATENCY_BOUNDS_MS, type Latencies } from '../../overlay-core/index.ts'
import { DOOR_METRICS } from './door-metrics.ts'
import type { Metric, Observed, Sample } from './metric.ts'
import { SERVER_METRICS } from './server-metrics.ts'

/** All metrics, in the order of the manual. */
export const METRICS: readonly Metric[] = [...DOOR_METRICS, ...SERVER_METRICS]

/** Makes a registry, which reads all metrics when it is asked for their text. */
export function metricsOf(observed: Observed): Registry {
  const registry = new Registry()
  for (const metric of METRICS) add(registry, metric, observed)
  return registry
}

/** The library would add each metric to a registry of the process. */
const NOWHERE: Registry[] = []

function add(registry: Registry, metric: Metric, observed: Observed): void {
  const options = { name: metric.name, help: metric.meaning, labelNames: metric.labels, registers: NOWHERE }
  if (metric.type === 'histogram') {
    registry.registerMetric(new ReadHistogram(options, () => metric.read(observed)))
  } else if (metric.type === 'counter') {
    const counter: Counter = new Counter({
      ...options,
      collect: () => {
        counter.reset()
        for (const [value, ...labels] of metric.read(observed)) counter.inc(named(metric.labels, labels), value)
      },
    })
    registry.registerMetric(counter)
  } else {
    const gauge: Gauge = new Gauge({
      ...options,
      collect: () => {
        gauge.reset()
        for (const [value, ...labels] of metric.read(observed)) gauge.set(named(metric.labels, labels), value)
      },
    })
    registry.registerMetric(gauge)
  }
}

function named(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']))
}

/** A histogram whose numbers are kept elsewhere: `observe` of the library takes far longer than a small request may. */
class ReadHistogram extends Histogram {
  readonly #name: string
  readonly #help: string
  readonly #labels: readonly string[]
  readonly #read: () => Iterable<Sample<Latencies>>

  constructor(
    options: { name: string; help: string; labelNames: readonly string[]; registers: Registry[] },
    read: () => Iterable<Sample<Latencies>>,
  ) {
    super(options)
    this.#name = options.name
    this.#help = options.help
    this.#labels = options.labelNames
    this.#read = read
  }

  /** What the registry asks for when it writes the text. */
  async getForPromString(): Promise<object> {
    const values: object[] = []
    for (const [latencies, ...labels] of this.#read()) {
      const own = named(this.#labels, labels)
      const add = (metricName: string, value: number, more: Record<string, string> = {}) =>
        values.push({ metricName: `${this.#name}_${metricName}`, labels: { ...more, ...own }, value })
      let total = 0
      for (const [i, count] of latencies.counts.entries()) {
        total += count
        add('bucket', total, {
          le: i < LATENCY_BOUNDS_MS.length ? String((LATENCY_BOUNDS_MS[i] as number) / 1000) : '+Inf',
        })
      }
      add('sum', latencies.sumMs / 1000)
      add('count', total)
    }
    return { name: this.#name, help: this.#help, type: 'histogram', aggregator: 'sum', values }
  }
}
