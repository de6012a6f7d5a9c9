import type { Time } from '../api/types.ts'
import type { SuperBlock } from './superblock.ts'

/** A change within so long after the last one may have left the ctime as it was: file systems count in ticks of up to 10 ms. */
const TICK_MS = 50

/** By what a directory of a lower is later known to be unchanged: its ctime, or NaN when that is too fresh to tell. */
export function ctimeFingerprint({ wallClockMs }: SuperBlock, ctime: Time): number {
  const ageMs = wallClockMs() - (ctime.sec * 1000 + ctime.nsec / 1e6)
  return ageMs < TICK_MS ? Number.NaN : nsOf(ctime)
}

/** In ns of the epoch. A double holds that to a quarter of a microsecond, which is finer than the clocks of file systems tick. */
export function nsOf({ sec, nsec }: Time): number {
  return sec * 1e9 + nsec
}
