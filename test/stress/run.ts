/** `npm run test:stress`: see `--help`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readOptions } from '../helpers/program-options.ts'
import { stressRound } from './stress.ts'
import type { Watch } from './views.ts'

const STUCK_MS = 60_000
const OPTIONS = ['', 'index=off', 'metacopy=on', 'redirect_dir=on,index=on,xino=on']

const values = readOptions({
  name: 'test:stress',
  about: `Runs concurrent operations on few names, and checks that a serial order explains all results, and that locks are taken in their order.
Round i has the seed S + i, and one of these options: ${OPTIONS.map((each) => each || 'none').join(' · ')}`,
  options: {
    seconds: { type: 'number', least: 1, default: 60, help: 'how long' },
    seed: { type: 'number', default: 1, help: 'the seed of the first round' },
    options: { type: 'text', default: '', help: 'mount options for all rounds instead' },
    views: {
      type: 'number',
      least: 1,
      default: 1,
      help: 'overlays on the same lowers; some are closed and opened again while others work, and the lower gets new files',
    },
  },
})

/** Fails a window that has come to a stop. */
const watch: Watch = async (work, report) => {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`stuck for ${STUCK_MS} ms:\n${report().join('\n')}`)), STUCK_MS)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

const dir = mkdtempSync(join(tmpdir(), 'overlayd-stress-'))
const started = performance.now()
const totals = { rounds: 0, operations: 0, locksTaken: 0, undecided: 0 }
try {
  const end = started + values.seconds * 1000
  for (let { seed } = values; performance.now() < end && process.exitCode === undefined; seed++) {
    const options = values.options || (OPTIONS[(seed >> 1) % OPTIONS.length] as string)
    const result = await stressRound(join(dir, 'round'), { seed, options, views: values.views }, watch)
    totals.rounds++
    totals.operations += result.operations
    totals.locksTaken += result.locksTaken
    totals.undecided += result.undecided
    if (result.undecided > 0) console.log(`seed ${seed}, options "${options}": ${result.undecided} windows undecided`)
    if (result.failures.length > 0) {
      process.exitCode = 1
      console.log(`seed ${seed}, options "${options}":`)
      for (const line of result.failures) console.log(`=> ${line}`)
    }
  }
} finally {
  rmSync(dir, { recursive: true, force: true })
}
const seconds = ((performance.now() - started) / 1000).toFixed(1)
console.log(
  `${totals.rounds} rounds, ${totals.operations} concurrent operations, ${totals.locksTaken} locks taken in order, ` +
    `${totals.undecided} windows undecided, ${process.exitCode === 1 ? 'NOT explained' : 'all explained'}, ${seconds} s`,
)
