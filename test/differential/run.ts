/**
 * Compares overlay-core with the kernel's overlayfs by random operations.
 *
 *     npm run test:differential -- [--rounds N] [--ops M] [--views N] [--seed S] [--as UID] [--options redirect_dir=on,index=on] [--on tmpfs|disk] [--upper-on layers|ramfs] [--door nfs3] [--jobs N] [--no-shrink]
 *
 * Round i of a run has the seed S + i: a divergence is repeated by `--rounds 1 --seed` with the seed that it was printed with. Rounds are shared
 * out to as many processes as `--jobs` says.
 */

import { needsRoot, ownMounts, startWithOwnMounts } from '../helpers/own-mounts.ts'
import type { DoorOperation } from './door-operations.ts'
import { type DoorDivergence, runDoorRound } from './door-round.ts'
import { avoidMarks } from './model.ts'
import * as native from './native.ts'
import type { Operation } from './operations.ts'
import { type Divergence, runRound } from './round.ts'
import { parseArguments, type Settings } from './settings.ts'
import { shrink } from './shrink.ts'
import { show } from './tree.ts'

const PROGRAM = 'test:differential'
const MS_REMOUNT = 32
const MS_NOATIME = 1024
const MS_BIND = 4096

/** What one process has done, as it tells the one that started it. */
interface Done {
  readonly rounds: number
  readonly operations: number
  readonly succeeded: number
}

if (needsRoot(PROGRAM, 'mounts the kernel overlay that overlayd is compared with')) {
  const inside = ownMounts()
  process.exitCode = inside
    ? await inScratch(inside.scratch, parseArguments(inside.args))
    : await start(process.argv.slice(2))
}

/** Shares the rounds out to processes and adds up what they have done. */
async function start(args: readonly string[]): Promise<number> {
  const { rounds, seed, jobs } = parseArguments(args)
  const started = performance.now()
  const total = { rounds: 0, operations: 0, succeeded: 0 }
  const onMessage = (message: unknown) => {
    for (const [name, count] of Object.entries(message as Done)) total[name as keyof Done] += count
  }
  const processes = Math.min(jobs, rounds)
  const firstOf = (i: number) => Math.floor((rounds * i) / processes)
  const statuses = await Promise.all(
    Array.from({ length: processes }, (_, i) => {
      const [from, to] = [firstOf(i), firstOf(i + 1)]
      const part = ['--rounds', `${to - from}`, '--seed', `${seed + from}`]
      return startWithOwnMounts(import.meta.url, [...args, ...part], { name: 'differential', onMessage })
    }),
  )
  const failed = statuses.filter((status) => status !== 0).length
  const seconds = (performance.now() - started) / 1000
  console.log(
    `${total.rounds} rounds, ${total.operations} operations (${total.succeeded} succeeded), ${failed === 0 ? 'no divergence' : 'DIVERGED'}; ` +
      `seeds ${seed}…${seed + rounds - 1}, ${seconds.toFixed(1)} s`,
  )
  return failed === 0 ? 0 : 1
}

async function inScratch(scratch: string, settings: Settings): Promise<number> {
  process.umask(0)
  mountScratch(scratch, settings)
  if (settings.mount.whiteouts === 'files' || settings.upperOn === 'ramfs') avoidMarks()
  for (let i = 0; i < settings.rounds; i++) {
    const seed = settings.seed + i
    const outcome = await roundOf(scratch, settings, seed)
    process.send?.({ rounds: 1, operations: outcome.done, succeeded: outcome.succeeded } satisfies Done)
    if (outcome.divergence) {
      await report(scratch, settings, seed, outcome.divergence)
      return 1
    }
  }
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

type AnyOperation = Operation | DoorOperation
type AnyDivergence = Divergence | DoorDivergence

async function roundOf(
  scratch: string,
  settings: Settings,
  seed: number,
  operations?: readonly AnyOperation[],
): Promise<{ divergence: AnyDivergence | undefined; done: number; succeeded: number }> {
  return settings.door === undefined
    ? await runRound(scratch, settings, seed, operations as readonly Operation[] | undefined)
    : await runDoorRound(scratch, settings, seed, operations as readonly DoorOperation[] | undefined)
}

async function report(scratch: string, settings: Settings, seed: number, found: AnyDivergence): Promise<void> {
  let last = found
  if (settings.shrink) {
    await shrink<AnyOperation>(found.operations, async (operations) => {
      const { divergence } = await roundOf(scratch, settings, seed, operations)
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
function kindOf({ operations, difference }: AnyDivergence): string {
  const text = difference
    .slice(0, 2)
    .join(' ')
    .replace(/\S*\/\S*/g, '')
    .replace(/\d+/g, '#')
    .replace(/"[^"]*"/g, '')
  return `${operations.length === 0 ? '' : operations.at(-1)?.op} ${text}`
}

function describe(operation: AnyOperation): string {
  const { op, ...rest } = operation
  const user = 'user' in operation && operation.user
  const view = 'view' in operation ? `view ${operation.view}: ` : ''
  const words = Object.entries(rest).map(([key, value]) => {
    if (key === 'user' || key === 'view') return ''
    if (key === 'path' || key === 'to') return show(value as string)
    if (key === 'mode' && typeof value === 'number') return `0${value.toString(8)}`
    const text = typeof value === 'string' ? show(value).slice(1) : JSON.stringify(value)
    return `${key}=${text}`
  })
  return `${view}${user ? 'user ' : ''}${op} ${words.filter((word) => word !== '').join(' ')}`
}
