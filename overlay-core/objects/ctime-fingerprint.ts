import type { Time } from '../api/types.ts'
import type { SuperBlock } from './superblock.ts'

/** A change this soon after another may not alter the ctime, because file systems count in ticks of up to 10 ms. */
const TICK_MS = 50

/** The ctime by which a later check recognizes a directory of a lower as unchanged; NaN if it is too recent to be reliable. */
export function ctimeFingerprint({ wallClockMs }: SuperBlock, ctime: Time): number {
  const ageMs = wallClockMs() - (ctime.sec * 1000 + ctime.nsec / 1e6)
  return ageMs < TICK_MS ? Number.NaN : nsOf(ctime)
}

/** Converts to ns since the epoch. A double is precise to a quarter of a microsecond, which is finer than the clocks of file systems. */
export function nsOf({ sec, nsec }: Time): number {
  return sec * 1e9 + nsec
}
