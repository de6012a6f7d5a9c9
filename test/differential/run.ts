/**
 * Compares overlay-core with the kernel's overlayfs by random operations.
 *
 *     npm run test:differential -- [--rounds N] [--ops M] [--seed S] [--as UID] [--options redirect_dir=on,index=on] [--on tmpfs|disk] [--upper-on layers|ramfs] [--no-shrink]
 *
 * Round i of a run has the seed S + i: a divergence is repeated by `--rounds 1 --seed` with the seed that it was printed with.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { avoidMarks } from './model.ts'
import * as native from './native.ts'
import type { Operation } from './operations.ts'
import { type Divergence, runRound } from './round.ts'
import { parseArguments, type Settings } from './settings.ts'
import { shrink } from './shrink.ts'
import { show } from './tree.ts'

const INSIDE = '--inside'
const MS_REMOUNT = 32
const MS_NOATIME = 1024
const MS_BIND = 4096

if (process.getuid?.() !== 0) {
  console.error(
    'test:differential needs root: it mounts the kernel overlay that overlayd is compared with (sudo npm run test:differential)',
  )
  process.exitCode = 2
} else if (process.argv[2] === INSIDE) {
  process.exitCode = await inScratch(process.argv[3] as string, parseArguments(process.argv.slice(4)))
} else {
  process.exitCode = startInside(process.argv.slice(2))
}

/** Runs the program again with mounts of its own, which go when it ends, in whatever way. */
function startInside(args: readonly string[]): number {
  parseArguments(args)
  const scratch = mkdtempSync(join(tmpdir(), 'overlayd-differential-'))
  try {
    const inner = [
      '--mount',
      '--propagation',
      'private',
      process.execPath,
      fileURLToPath(import.meta.url),
      INSIDE,
      scratch,
    ]
    return spawnSync('unshare', [...inner, ...args], { stdio: 'inherit' }).status ?? 1
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function inScratch(scratch: string, settings: Settings): Promise<number> {
  process.umask(0)
  mountScratch(scratch, settings)
  if (settings.mount.whiteouts === 'files' || settings.upperOn === 'ramfs') avoidMarks()
  const started = performance.now()
  let [operations, succeeded] = [0, 0]
  for (let i = 0; i < settings.rounds; i++) {
    const seed = settings.seed + i
    const outcome = await runRound(scratch, settings, seed)
    operations += outcome.done
    succeeded += outcome.succeeded
    if (outcome.divergence) {
      await report(scratch, settings, seed, outcome.divergence)
      return 1
    }
  }
  const seconds = (performance.now() - started) / 1000
  console.log(
    `${settings.rounds} rounds, ${operations} operations (${succeeded} succeeded), no divergence; ` +
      `seeds ${settings.seed}…${settings.seed + settings.rounds - 1}, ${seconds.toFixed(1)} s`,
  )
  return 0
}

/** Without access times, as the comparison itself reads the layers. */
function mountScratch(scratch: string, { on }: Settings): void {
  if (on === 'tmpfs') {
    native.mount('tmpfs', scratch, 'tmpfs', MS_NOATIME, 'mode=755')
  } else {
    native.mount(scratch, scratch, '', MS_BIND, '')
    native.mount(scratch, scratch, '', MS_BIND | MS_REMOUNT | MS_NOATIME, '')
  }
}

async function report(scratch: string, settings: Settings, seed: number, found: Divergence): Promise<void> {
  let last = found
  if (settings.shrink) {
    await shrink(found.operations, async (operations) => {
      const { divergence } = await runRound(scratch, settings, seed, operations)
      // Another difference on the way is not the one that is looked for.
      if (!divergence || kindOf(divergence) !== kindOf(found)) return undefined
      last = divergence
      return divergence.operations
    })
  }
  console.log(
    `seed ${seed}: the two differ after ${last.operations.length} operations (of ${found.operations.length}):`,
  )
  for (const operation of last.operations) console.log(`  ${describe(operation)}`)
  for (const line of last.difference) console.log(`=> ${line}`)
}

/** What a divergence is about, without its paths and figures. */
function kindOf({ operations, difference }: Divergence): string {
  const text = difference
    .slice(0, 2)
    .join(' ')
    .replace(/\S*\/\S*/g, '')
    .replace(/\d+/g, '#')
    .replace(/"[^"]*"/g, '')
  return `${operations.length === 0 ? '' : operations.at(-1)?.op} ${text}`
}

function describe(operation: Operation): string {
  const { user, op, ...rest } = operation
  const words = Object.entries(rest).map(([key, value]) => {
    if (key === 'path' || key === 'to') return show(value as string)
    if (key === 'mode' && typeof value === 'number') return `0${value.toString(8)}`
    const text = typeof value === 'string' ? show(value).slice(1) : JSON.stringify(value)
    return `${key}=${text}`
  })
  return `${user ? 'user ' : ''}${op} ${words.join(' ')}`
}
