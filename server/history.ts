import type { Clock } from './clock.ts'

/** What is measured at one moment. Totals grow since the start; the others are present values. */
export interface Measured {
  readonly nfsCalls: number
  readonly webdavRequests: number
  /** Bytes from and to clients. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** How long the event loop was busy, in ms. */
  readonly busyMs: number
  readonly memoryBytes: number
  readonly connections: number
  readonly openViews: number
}

const TOTALS = ['nfsCalls', 'webdavRequests', 'bytesIn', 'bytesOut', 'busyMs'] as const
const PRESENT = ['memoryBytes', 'connections', 'openViews'] as const
const COLUMNS = [...TOTALS, ...PRESENT] as const

/** How long a step of each resolution is, and how many are kept: an hour and two days. */
const RINGS = { fine: { stepMs: 10_000, length: 360 }, coarse: { stepMs: 300_000, length: 576 } } as const
export type Resolution = keyof typeof RINGS
export const RESOLUTIONS: readonly Resolution[] = ['fine', 'coarse']

/** The course of a server, for plots. All lists are equally long, the oldest first. */
export interface Course {
  readonly stepSeconds: number
  /** The end of each step, in ms since the epoch. */
  readonly atMs: readonly number[]
  /** Per second, on average over the step. */
  readonly nfsCalls: readonly number[]
  readonly webdavRequests: readonly number[]
  readonly bytesIn: readonly number[]
  readonly bytesOut: readonly number[]
  /** The part of the time in which the event loop was busy, from 0 to 1. */
  readonly busy: readonly number[]
  readonly memoryBytes: readonly number[]
  readonly connections: readonly number[]
  readonly openViews: readonly number[]
}

/** The throughput and size of a server over the last hour and the last two days, in 80 KB. */
export class History {
  readonly #measure: () => Measured
  readonly #coarse: () => void
  readonly #wallNow: Clock
  readonly #rings: { readonly [Key in Resolution]: Ring }
  #timer: NodeJS.Timeout | undefined
  #ticks = 0

  /** `coarse` is called at each coarse step. */
  constructor(measure: () => Measured, wallNow: Clock, coarse: () => void = () => undefined) {
    this.#measure = measure
    this.#coarse = coarse
    this.#wallNow = wallNow
    this.#rings = { fine: new Ring(RINGS.fine.length), coarse: new Ring(RINGS.coarse.length) }
  }

  start(): void {
    this.tick()
    this.#timer = setInterval(() => this.tick(), RINGS.fine.stepMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Measures once; called at each step. */
  tick(): void {
    const measured = this.#measure()
    const nowMs = this.#wallNow()
    this.#rings.fine.add(nowMs, measured)
    if (this.#ticks++ % (RINGS.coarse.stepMs / RINGS.fine.stepMs) !== 0) return
    this.#rings.coarse.add(nowMs, measured)
    this.#coarse()
  }

  course(resolution: Resolution): Course {
    const rows = this.#rings[resolution].rows()
    const steps = rows.slice(1).map((row, at) => ({ row, before: rows[at] as Row }))
    const rate = (key: (typeof TOTALS)[number], unit = 1000) =>
      steps.map(({ row, before }) => {
        const ms = row.atMs - before.atMs
        return ms <= 0 ? 0 : Math.max(0, ((row[key] - before[key]) / ms) * unit)
      })
    const present = (key: (typeof PRESENT)[number]) => steps.map(({ row }) => row[key])
    return {
      stepSeconds: RINGS[resolution].stepMs / 1000,
      atMs: steps.map(({ row }) => row.atMs),
      nfsCalls: rate('nfsCalls'),
      webdavRequests: rate('webdavRequests'),
      bytesIn: rate('bytesIn'),
      bytesOut: rate('bytesOut'),
      busy: rate('busyMs', 1),
      memoryBytes: present('memoryBytes'),
      connections: present('connections'),
      openViews: present('openViews'),
    }
  }
}

type Row = Measured & { readonly atMs: number }

/** The latest rows, in memory of fixed size. */
class Ring {
  readonly #length: number
  readonly #values: Float64Array
  #count = 0

  constructor(length: number) {
    this.#length = length
    this.#values = new Float64Array(length * (COLUMNS.length + 1))
  }

  add(atMs: number, measured: Measured): void {
    const start = (this.#count++ % this.#length) * (COLUMNS.length + 1)
    this.#values[start] = atMs
    for (const [column, name] of COLUMNS.entries()) this.#values[start + 1 + column] = measured[name]
  }

  /** Oldest first. */
  rows(): Row[] {
    const first = Math.max(0, this.#count - this.#length)
    return Array.from({ length: this.#count - first }, (_, at) => this.#row(first + at))
  }

  #row(number: number): Row {
    const start = (number % this.#length) * (COLUMNS.length + 1)
    const value = (column: number) => this.#values[start + column] ?? 0
    const named = Object.fromEntries(COLUMNS.map((name, column) => [name, value(column + 1)]))
    return { atMs: value(0), ...(named as Record<(typeof COLUMNS)[number], number>) }
  }
}
