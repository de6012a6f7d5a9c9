import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 20
const NS = 1e9

/** How late the timers of the event loop were. It is measured from the first look on. */
export class LoopLag {
  #delays: ReturnType<typeof monitorEventLoopDelay> | undefined

  /** In seconds since the last look: the usual lateness, that of the latest percent, and the most. */
  take(): { readonly median: number; readonly p99: number; readonly max: number } {
    const delays = this.#delays
    if (delays === undefined) {
      this.#delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
      this.#delays.enable()
      return { median: 0, p99: 0, max: 0 }
    }
    const late = (ns: number) => Math.max(0, ns / NS - RESOLUTION_MS / 1000)
    const lag = { median: late(delays.percentile(50)), p99: late(delays.percentile(99)), max: late(delays.max) }
    delays.reset()
    return lag
  }
}
