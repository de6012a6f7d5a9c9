import { setImmediate } from 'node:timers/promises'
import { bind, setThreadFault, threadsReady, tryCall } from '../../overlay-core/sys/call.ts'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'

const CALLS_THAT_START_THREADS = 300
const FAR = 1_000_000_000

const getpid = bind<[]>('int getpid()')

/** Lets the core make its calls by threads from now on, and waits until they are ready. */
export async function startThreads(): Promise<void> {
  setFaultPoints(undefined)
  for (let i = 0; i < CALLS_THAT_START_THREADS; i++) await tryCall('getpid', getpid)
  while (threadsReady() < 2) await setImmediate()
}

/** Counts the points that the threads pass from now on. */
export function countPoints(): void {
  setThreadFault(FAR, 0)
}

/** Ends what `countPoints` began. */
export function pointsPassed(): number {
  return FAR - setThreadFault(0, 0)
}
