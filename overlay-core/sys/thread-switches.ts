import type { KoffiFunc } from 'koffi'
import type { Switches } from './loop-time.ts'

const RUSAGE_THREAD = 1
const SIZE_OF_RUSAGE = 144
/** Indexes of 32-bit words in struct rusage. */
const VOLUNTARY_SWITCHES = 32
const FORCED_SWITCHES = 34

/** struct rusage, of which two words are used. */
const usage = new Uint32Array(new ArrayBuffer(SIZE_OF_RUSAGE))

/** Reads how often the calling thread has given up the processor so far, by libc's getrusage(2). */
export function switchesBy(getrusage: KoffiFunc<(who: number, out: Uint32Array) => number>) {
  return (into: Switches): void => {
    getrusage(RUSAGE_THREAD, usage)
    into.voluntary = usage[VOLUNTARY_SWITCHES] as number
    into.forced = usage[FORCED_SWITCHES] as number
  }
}
