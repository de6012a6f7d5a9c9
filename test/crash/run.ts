/**
 * Kills a process with overlay-core at every system call of every operation, and looks at what it left.
 *
 *     npm run test:crash -- [--kills N] [--seconds N] [--seed S] [--scenario NAME] [--options index=off] [--on tmpfs|disk] [--sample N]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as native from '../differential/native.ts'
import { SCENARIOS } from './scenarios.ts'
import { parseArguments, type Settings } from './settings.ts'
import { sweep } from './sweep.ts'

const INSIDE = '--inside'
const FAILURES_SHOWN = 20

if (process.getuid?.() !== 0) {
  console.error('test:crash needs root: the kernel mounts what is left too (sudo npm run test:crash)')
  process.exitCode = 2
} else if (process.argv[2] === INSIDE) {
  process.exitCode = await inScratch(process.argv[3] as string, parseArguments(process.argv.slice(4)))
} else {
  process.exitCode = startInside(process.argv.slice(2))
}

/** Runs the program again with mounts of its own, which go when it ends, and fit to fork. */
function startInside(args: readonly string[]): number {
  parseArguments(args)
  const scratch = mkdtempSync(join(tmpdir(), 'overlayd-crash-'))
  try {
    const node = [process.execPath, '--single-threaded', fileURLToPath(import.meta.url)]
    const inner = ['--mount', '--propagation', 'private', ...node, INSIDE, scratch]
    return spawnSync('unshare', [...inner, ...args], { stdio: 'inherit' }).status ?? 1
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function inScratch(scratch: string, settings: Settings): Promise<number> {
  process.umask(0)
  if (settings.on === 'tmpfs') native.mount('tmpfs', scratch, 'tmpfs', 1024, 'mode=755')
  const started = Date.now()
  const stopAt = started + settings.seconds * 1000
  const failures: string[] = []
  let [kills, byKernel] = [0, 0]
  for (const scenario of SCENARIOS.filter(({ name }) => name.includes(settings.scenario))) {
    if (kills >= settings.kills || Date.now() > stopAt) break
    const result = await sweep(scenario, {
      scratch,
      extra: settings.options,
      sample: settings.sample,
      seed: settings.seed,
      thoroughEvery: 8,
      stopAt,
    })
    kills += result.kills
    byKernel += result.byKernel
    failures.push(...result.failures)
    const verdict = result.failures.length === 0 ? 'ok' : `${result.failures.length} WRONG`
    console.log(`${scenario.name}: ${result.kills} kills, ${verdict}`)
  }
  for (const line of failures.slice(0, FAILURES_SHOWN)) console.log(`=> ${line}`)
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  console.log(
    `${kills} kills, ${byKernel} of them also looked at by the kernel, ${failures.length} wrong, ${seconds} s`,
  )
  return failures.length === 0 ? 0 : 1
}
