import { performance } from 'node:perf_hooks'
import type { Logger } from 'pino'
import { giveMemoryBack } from '../overlay-core/index.ts'

const INTERVAL_MS = 3_000
/** Below this size, returning memory is not worthwhile. */
const WORTH_BYTES = 160 * 1024 * 1024
/** The share of busy time below which the event loop counts as idle. */
const QUIET = 0.3

/**
 * Returns freed memory to the system after a load, which the C library would otherwise keep forever. Runs only while the server is nearly idle. Returns a
 * function that stops it.
 */
export function keepMemorySmall(log: Logger): () => void {
  let before = performance.eventLoopUtilization()
  let trimmedBytes = 0
  const timer = setInterval(() => {
    const { utilization } = performance.eventLoopUtilization(before)
    before = performance.eventLoopUtilization()
    const bytes = residentBytes()
    if (utilization > QUIET || bytes < WORTH_BYTES || bytes === trimmedBytes) return
    giveMemoryBack().then(
      () => {
        trimmedBytes = residentBytes()
      },
      (error) => {
        clearInterval(timer)
        log.debug({ err: error }, 'cannot return memory to the system')
      },
    )
  }, INTERVAL_MS).unref()
  return () => clearInterval(timer)
}

/** The resident memory of this process; 0 if no descriptor is free to read it with. */
function residentBytes(): number {
  try {
    return process.memoryUsage.rss()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error
    return 0
  }
}
