import type { SnapshotCounts } from '../../config/index.ts'
import type { Snapshot } from './layer-record.ts'

/** The beginning of the names of snapshots that the schedule has taken; only these are removed by it. */
export const SCHEDULED = 'auto-'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** A Monday. */
const FIRST_WEEK_MS = 4 * DAY_MS

/** The periods by their keys, the shortest first. */
const PERIODS = [
  { key: 'hourly', lengthMs: HOUR_MS, startMs: 0 },
  { key: 'daily', lengthMs: DAY_MS, startMs: 0 },
  { key: 'weekly', lengthMs: 7 * DAY_MS, startMs: FIRST_WEEK_MS },
] as const

/** Which period a time is in: a number that grows by one with each. Periods begin with full hours, days and Mondays, UTC. */
function periodOf(atMs: number, { lengthMs, startMs }: (typeof PERIODS)[number]): number {
  return Math.floor((atMs - startMs) / lengthMs)
}

/** Whether a snapshot is due: the shortest period that counts has begun since the last one of the schedule. The first one is due at once. */
export function isDue(counts: SnapshotCounts, snapshots: readonly Snapshot[], nowMs: number): boolean {
  const shortest = PERIODS.find(({ key }) => counts[key] > 0)
  if (shortest === undefined) return false
  const last = snapshots.findLast(({ name }) => name.startsWith(SCHEDULED))
  return last === undefined || periodOf(last.createdMs, shortest) < periodOf(nowMs, shortest)
}

/** The snapshots of the schedule that it does not keep: all but the last one in each of the latest periods that have one, as many of each as `counts` says. */
export function surplus(counts: SnapshotCounts, snapshots: readonly Snapshot[]): readonly Snapshot[] {
  const own = snapshots.filter(({ name }) => name.startsWith(SCHEDULED)).sort((a, b) => b.createdMs - a.createdMs)
  const kept = new Set<Snapshot>()
  for (const period of PERIODS) {
    const seen = new Set<number>()
    for (const snapshot of own) {
      const number = periodOf(snapshot.createdMs, period)
      if (seen.has(number) || seen.size >= counts[period.key]) continue
      seen.add(number)
      kept.add(snapshot)
    }
  }
  return own.filter((snapshot) => !kept.has(snapshot))
}
