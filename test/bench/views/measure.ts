import { readdirSync, readlinkSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { loopBudget } from '../../../overlay-core/index.ts'
import { shareDescriptors } from '../../../overlay-core/sys/descriptor-shares.ts'
import { raiseFileLimit } from '../../../overlay-core/sys/process.ts'
import { Bursts } from '../../helpers/bursts.ts'
import { type LongestStalls, Stalls, TICK_MS } from '../../helpers/stalls.ts'

/** The cost of doing something once for each of many views. */
export interface Timed {
  /** Milliseconds per view. */
  readonly medianMs: number
  readonly p99Ms: number
  /** Processor time per view in milliseconds, of all threads. */
  readonly cpuMs: number
  /** The longest times in which the event loop did not turn. */
  readonly stalls: LongestStalls
  /** The longest turn in processor time of its thread. */
  readonly burstMs: number
}

/** The part of the views for which turns of the loop are timed. That keeps the loop busy, so processor time is measured for the others. */
const TIMED_TURNS = 0.1

/** Descriptors besides those of caches and connections. */
const OTHERS = 100

/** Runs `work` for 0 … `count` - 1, one after the other. */
export async function timeEach(count: number, work: (index: number) => Promise<unknown>): Promise<Timed> {
  const times: number[] = []
  const bursts = new Bursts()
  const stalls = new Stalls()
  const plain = Math.ceil(count * (1 - TIMED_TURNS))
  const before = process.cpuUsage()
  let used = before
  for (let i = 0; i < count; i++) {
    if (i === plain) {
      used = process.cpuUsage(before)
      bursts.start()
    }
    const start = performance.now()
    await work(i)
    times.push(performance.now() - start)
    // As the server does between two views.
    if (loopBudget.spent) await loopBudget.rest()
  }
  // Until the last stall has been seen.
  await pause(2 * TICK_MS)
  stalls.stop()
  bursts.stop()
  times.sort((a, b) => a - b)
  const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))] as number
  return {
    medianMs: at(0.5),
    p99Ms: at(0.99),
    cpuMs: (used.user + used.system) / 1000 / plain,
    stalls: stalls.longest,
    burstMs: bursts.longestMs,
  }
}

/** The memory and the descriptors of the process. */
export interface Held {
  /** Heap and memory outside it that it refers to, in bytes. */
  readonly heap: number
  /** Without V8's young generation, whose size follows the rate of allocation and not what is held. */
  readonly resident: number
  readonly descriptors: number
}

/** The number of open files and directories that are not below `dir`. */
export function descriptorsOutside(dir: string): number {
  const isOutside = (fd: string) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return path.startsWith('/') && !path.startsWith(`${dir}/`)
    } catch {
      // The descriptor with which the list was read.
      return false
    }
  }
  return readdirSync('/proc/self/fd').filter(isOutside).length
}

/** Measures after collecting garbage. */
export async function held(): Promise<Held> {
  // Finalizers run between two collections.
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await nextTurn()
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  return {
    heap: heapUsed + external,
    resident: rss - (young?.physical_space_size ?? 0),
    descriptors: readdirSync('/proc/self/fd').length - 1,
  }
}

/** The number of descriptors that a process may keep open: those of caches and connections, and some for everything else. */
export function descriptorsAllowed(): number {
  const limit = raiseFileLimit()
  const { directories, files, connections } = shareDescriptors(limit)
  return Math.min(limit, directories + files + connections + OTHERS)
}
