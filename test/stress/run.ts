/**
 * Concurrent operations on few names, and a check that a serial order explains every answer.
 *
 *     npm run test:stress -- [--seconds N] [--seed S] [--options index=off]
 *
 * Round i of a run has the seed S + i.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { stressRound, type Watch } from './stress.ts'

const STUCK_MS = 60_000
const OPTIONS = ['', 'index=off', 'metacopy=on', 'redirect_dir=on,index=on,xino=on']

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    options: { type: 'string' },
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
  const end = started + Number(values.seconds) * 1000
  for (let seed = Number(values.seed); performance.now() < end && process.exitCode === undefined; seed++) {
    const options = values.options ?? (OPTIONS[seed % OPTIONS.length] as string)
    const result = await stressRound(join(dir, 'round'), seed, options, watch)
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
