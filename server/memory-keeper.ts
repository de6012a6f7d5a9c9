import { performance } from 'node:perf_hooks'
import type { Logger } from 'pino'
import { giveMemoryBack } from '../overlay-core/index.ts'

const INTERVAL_MS = 3_000
/** Less than this is not worth it. */
const WORTH_BYTES = 160 * 1024 * 1024
/** The part of the time in which the event loop may be at work. */
const QUIET = 0.3

/**
 * Gives memory back to the system after a load: the C library keeps what has been freed for ever otherwise. Only while there is little to do. Returns how to
 * end that.
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

/** What the process takes of the machine's memory; 0 while no descriptor is left to ask with. */
function residentBytes(): number {
  try {
    return process.memoryUsage.rss()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error
    return 0
  }
}
