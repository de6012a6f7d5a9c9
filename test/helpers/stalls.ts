import { closeSync, openSync, readSync } from 'node:fs'
import { type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'

/** How often the loop is looked at. */
export const TICK_MS = 1
/** Long enough for a line of schedstat. */
const LINE_BYTES = 100

/** A time in which the event loop did not turn, and what its thread did meanwhile, in ms. */
export interface Stall {
  readonly ms: number
  /** The thread ran. */
  readonly ranMs: number
  /** It could have run, but waited for a processor. The rest of the time it waited for something else, as in a system call. */
  readonly readyMs: number
  /** Garbage was collected, by the clock. */
  readonly collectingMs: number
}

/** The stalls of a time. */
export interface LongestStalls {
  /** The longest one by the clock. */
  readonly byClock: Stall
  /** The longest one without the time in which the thread waited for a processor, which others on the machine had. */
  readonly own: Stall
}

interface Moment {
  readonly ms: number
  readonly ranMs: number
  readonly readyMs: number
}

interface Span {
  readonly from: Moment
  readonly to: Moment
}

/** Watches for how long the event loop of this thread does not turn, by a timer. */
export class Stalls {
  readonly #schedstat = openSync('/proc/thread-self/schedstat', 'r')
  readonly #line = Buffer.alloc(LINE_BYTES)
  readonly #collector = new PerformanceObserver((list) => this.#collected(list.getEntries()))
  readonly #timer: NodeJS.Timeout
  #last = this.#now()
  #byClock: Span = { from: this.#last, to: this.#last }
  #own = this.#byClock
  /** Collections of garbage that may have been during one of the two, or during a stall that has not ended. */
  #collections: PerformanceEntry[] = []

  constructor() {
    this.#collector.observe({ entryTypes: ['gc'] })
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  /** Those since `reset`. */
  get longest(): LongestStalls {
    return { byClock: this.#stallOf(this.#byClock), own: this.#stallOf(this.#own) }
  }

  /** Forgets the stalls until now. */
  reset(): void {
    this.#last = this.#now()
    this.#byClock = { from: this.#last, to: this.#last }
    this.#own = this.#byClock
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#collector.disconnect()
    closeSync(this.#schedstat)
  }

  #tick(): void {
    const span = { from: this.#last, to: this.#now() }
    this.#last = span.to
    if (lengthMs(span) > lengthMs(this.#byClock)) this.#byClock = span
    if (ownMs(span) > ownMs(this.#own)) this.#own = span
  }

  #collected(entries: readonly PerformanceEntry[]): void {
    const counts = (entry: PerformanceEntry) =>
      entry.startTime + entry.duration > this.#last.ms ||
      [this.#byClock, this.#own].some((span) => overlapMs(span, entry) > 0)
    this.#collections = [...this.#collections, ...entries].filter(counts)
  }

  #stallOf(span: Span): Stall {
    const { from, to } = span
    const collectingMs = this.#collections.reduce((sum, entry) => sum + overlapMs(span, entry), 0)
    return { ms: lengthMs(span), ranMs: to.ranMs - from.ranMs, readyMs: to.readyMs - from.readyMs, collectingMs }
  }

  /** The time, and how long the thread has run and waited for a processor. */
  #now(): Moment {
    const line = this.#line.toString('latin1', 0, readSync(this.#schedstat, this.#line, 0, LINE_BYTES, 0))
    // The processor time in that line is up to date only as of the last tick of the kernel.
    const { user, system } = process.threadCpuUsage()
    return {
      ms: performance.now(),
      ranMs: (user + system) / 1000,
      readyMs: Number(line.split(' ')[1]) / 1e6,
    }
  }
}

function lengthMs({ from, to }: Span): number {
  return to.ms - from.ms
}

function ownMs(span: Span): number {
  return lengthMs(span) - (span.to.readyMs - span.from.readyMs)
}

function overlapMs({ from, to }: Span, { startTime, duration }: PerformanceEntry): number {
  return Math.max(0, Math.min(to.ms, startTime + duration) - Math.max(from.ms, startTime))
}
