import { OverlayError } from './errno.ts'
import { Latencies } from './latencies.ts'

/** What the overlays of this process have done since its start. Caches and disks are shared, so this is one for all. */
export const activity = {
  /** Finished copy-ups. */
  copyUps: 0,
  copyUpsFailed: 0,
  /** Changes that a quota has refused. */
  quotaRefusals: 0,
  /** The fsync and syncfs calls for clients. */
  syncs: new Latencies(),
}

/** Counts a copy-up when it has ended. */
export async function countedCopyUp(copying: Promise<void>): Promise<void> {
  try {
    await copying
    activity.copyUps++
  } catch (error) {
    activity.copyUpsFailed++
    throw error
  }
}

/** Counts a change that a quota refuses, and makes its error. */
export function refusedByQuota(op: string): OverlayError {
  activity.quotaRefusals++
  return new OverlayError('EDQUOT', op)
}
