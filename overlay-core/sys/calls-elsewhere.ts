import { afterWait, callsElsewhere, type SystemCall } from './call.ts'

const EMFILE = 24

/** Like `tryCalls`, but never makes a call on the event loop: for changes that may have to wait for the journal of a disk, and are too rare to be worth that. */
export async function tryCallsElsewhere(steps: readonly SystemCall[]): Promise<readonly number[]> {
  const results = await callsElsewhere(steps)
  return results.at(-1) === -EMFILE ? await afterWait(steps, results) : results
}
