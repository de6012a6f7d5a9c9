import { setFlagsFromString } from 'node:v8'
import type { Logger } from 'pino'
import { giveMemoryBack } from '../overlay-core/index.ts'
import { fineClock } from './clock.ts'

const INTERVAL_MS = 1_500
const MIB = 1024 * 1024
/** Nothing is done while the process is smaller than this. */
const WORTH_BYTES = 160 * MIB
/** The growth since the last attempt that makes it worth trying again at once. */
const GROWN_BYTES = 16 * MIB
/** A gain below this means that there is no more to give back. */
const GAINED_BYTES = 4 * MIB
/** The number of intervals that the keeper waits after an attempt without a gain; each further one doubles it. */
const FIRST_REST = 2
const LONGEST_REST = 256
/** The event loop is quiet while it works for less than this part of the time. */
const QUIET = 0.3
/** V8 starts an incremental garbage collection when memory outside its heap grows by 64 MiB. */
const COLLECT_AT_BYTES = 65 * MIB

/** The measurements and actions of the keeper. Tests replace them. */
export interface Memory {
  /** Resident memory of the process in bytes. */
  resident(): number
  /** The part of the time since the last call in which the main thread used a processor. */
  busy(): number
  /** Starts a garbage collection that is spread over several turns of the event loop. */
  collect(): void
  /** Makes the C library return freed memory to the system. */
  giveBack(): Promise<void>
}

/**
 * Returns memory to the system after a load, while the server has little to do.
 *
 * V8 collects garbage only when new memory is allocated, so an idle server keeps the garbage of its last load. The C library keeps freed memory for reuse.
 *
 * @returns a function that stops the keeper
 */
export function keepMemorySmall(
  log: Pick<Logger, 'debug'>,
  memory: Memory = ownMemory(),
  intervalMs: number = INTERVAL_MS,
): () => void {
  /** The size after the last attempt. */
  let leastBytes = 0
  /** How long the keeper rests after an attempt without a gain, and how much of it is left, in intervals. */
  let rest = FIRST_REST
  let left = 0
  /** The size before the collection that has been started; 0 if none has. */
  let startedAtBytes = 0
  const tick = async () => {
    const busy = memory.busy()
    const bytes = memory.resident()
    if (bytes >= leastBytes + GROWN_BYTES) {
      rest = FIRST_REST
      left = 0
    }
    if (busy > QUIET || bytes < WORTH_BYTES || left-- > 0) return
    if (startedAtBytes === 0) {
      startedAtBytes = bytes
      memory.collect()
      return
    }
    await memory.giveBack()
    leastBytes = memory.resident()
    const gained = startedAtBytes - leastBytes >= GAINED_BYTES
    startedAtBytes = 0
    left = gained ? 0 : rest
    rest = gained ? FIRST_REST : Math.min(LONGEST_REST, 2 * rest)
  }
  const timer = setInterval(() => {
    tick().catch((error) => {
      clearInterval(timer)
      log.debug({ err: error }, 'cannot return memory to the system')
    })
  }, intervalMs).unref()
  return () => clearInterval(timer)
}

function ownMemory(): Memory {
  let beforeMs = fineClock()
  let workedBeforeMs = threadMs()
  return {
    resident: residentBytes,
    busy: () => {
      const nowMs = fineClock()
      const workedMs = threadMs()
      const part = (workedMs - workedBeforeMs) / Math.max(1, nowMs - beforeMs)
      beforeMs = nowMs
      workedBeforeMs = workedMs
      return part
    },
    collect: beginCollecting,
    giveBack: giveMemoryBack,
  }
}

/** Processor time of the main thread in ms. Event loop utilization is not used: it also counts time spent waiting for a processor. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** Resident memory of the process in bytes; 0 while no file descriptor is available to read it. */
function residentBytes(): number {
  try {
    return process.memoryUsage.rss()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error
    return 0
  }
}

/**
 * Starts an incremental garbage collection. The collections that Node offers as a call stop the event loop until they are done. Allocating a block of this size makes V8 start one that works in
 * small steps. Nothing is written to the block, so it uses no physical memory. By default V8 keeps freed pages of its heap for reuse, often more than a hundred MiB; a collection that
 * starts while it optimizes for size returns them to the system.
 */
export function beginCollecting(): void {
  setFlagsFromString('--optimize-for-size')
  try {
    Buffer.allocUnsafeSlow(COLLECT_AT_BYTES)
  } finally {
    setFlagsFromString('--no-optimize-for-size')
  }
}
