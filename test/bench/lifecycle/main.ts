/**
 * `npm run bench:lifecycle [-- --on DIR] [--most CHANGES]`: what the steps of the life of a view take, over views with 10, 1,000 and 100,000 changes: medians of elapsed and of processor time, after what was
 * written before has reached the disk. In memory by default, because a disk that others use as well adds the time of its syncs. The bar: a fork takes less than
 * 20 ms at any size.
 */
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { report } from './report.ts'
import { measureRound, STEPS, type Step, type Times } from './round.ts'

/** The numbers of changes, and how often each is measured. */
const SIZES: readonly (readonly [changes: number, rounds: number])[] = [
  [10, 9],
  [1000, 7],
  [100_000, 3],
]
/** The maximum of the median processor time of a fork, in ms: elapsed time says nothing while others use the machine. */
const FORK_BAR_MS = 20

const { values } = parseArgs({ options: { on: { type: 'string' }, most: { type: 'string' } } })
const most = Number(values.most ?? Number.POSITIVE_INFINITY)
const dir = await mkdtemp(join(values.on ?? '/dev/shm', 'overlayd-lifecycle-'))
const measured = new Map<number, ReadonlyMap<Step, Times[]>>()
try {
  for (const [changes, rounds] of SIZES) {
    if (changes > most) continue
    const all = new Map(STEPS.map((step): [Step, Times[]] => [step, []]))
    for (let round = 0; round < rounds; round++) {
      const times = await measureRound(join(dir, `${changes}-${round}`), changes)
      for (const step of STEPS) all.get(step)?.push(times[step])
    }
    measured.set(changes, all)
  }
} finally {
  rmSync(dir, { recursive: true, force: true })
}
const { text, medianOf } = report(measured)
process.stdout.write(text)
const slow = [...measured.keys()].filter((changes) => medianOf(changes, 'fork').cpuMs >= FORK_BAR_MS)
if (slow.length > 0)
  process.stdout.write(`a fork takes ${FORK_BAR_MS} ms or more of processor time with ${slow.join(' and ')} changes\n`)
process.exitCode = slow.length === 0 ? 0 : 1
