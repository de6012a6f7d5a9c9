import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import * as native from '../differential/native.ts'
import { needsRoot, ownMounts, startWithOwnMounts } from '../helpers/own-mounts.ts'
import { NO_FAULTS } from './fault-points.ts'
import type { Settings } from './settings.ts'

const MS_NOATIME = 1024

/** What a process has done, in numbers that can be added up; `wrong` is the number of failures. */
export type Counts = { readonly wrong: number } & Readonly<Record<string, number>>

/** A program that is run in several processes at a time, each of which does its share. */
export interface Program<S extends Settings> {
  readonly name: string
  readonly readSettings: (args: readonly string[]) => S
  /** Runs in a new folder, with mounts of its own, fit to fork. Share `settings.share` of `settings.jobs` is to be done. */
  readonly main: (scratch: string, settings: S) => Promise<Counts>
  /** The last line of the output. */
  readonly summary: (total: Counts, seconds: string) => string
}

/**
 * Runs the program `url` again, as many times as there are jobs, with mounts of its own, which go when it ends in whatever way; in there
 * calls `main`. Adds up what they have done, and sets the exit code.
 */
export async function runInside<S extends Settings>(url: string, program: Program<S>): Promise<void> {
  const inside = ownMounts()
  const settings = program.readSettings(inside?.args ?? process.argv.slice(2))
  if (!needsRoot(program.name, 'mounts file systems')) return
  if (inside) {
    const counts = await startMain(inside.scratch, settings, program)
    process.send?.(counts)
    process.exitCode = counts.wrong === 0 ? 0 : 1
  } else {
    process.exitCode = await startJobs(url, settings.jobs, program)
  }
}

async function startMain<S extends Settings>(scratch: string, settings: S, { main }: Program<S>): Promise<Counts> {
  process.umask(0)
  setFaultPoints(NO_FAULTS)
  if (settings.on === 'tmpfs') native.mount('tmpfs', scratch, 'tmpfs', MS_NOATIME, 'mode=755')
  return await main(scratch, settings)
}

async function startJobs<S extends Settings>(url: string, jobs: number, { summary }: Program<S>): Promise<number> {
  const args = process.argv.slice(2)
  const started = performance.now()
  const total: Record<string, number> & { wrong: number } = { wrong: 0 }
  const onMessage = (message: unknown) => {
    for (const [name, count] of Object.entries(message as Counts)) total[name] = (total[name] ?? 0) + count
  }
  const start = { name: 'crash', nodeArguments: ['--single-threaded'], onMessage }
  const shares = Array.from({ length: jobs }, (_, i) => [...args, '--jobs', `${jobs}`, '--share', `${i}`])
  const statuses = await Promise.all(shares.map((share) => startWithOwnMounts(url, share, start)))
  console.log(summary(total, ((performance.now() - started) / 1000).toFixed(1)))
  return statuses.every((status) => status === 0) ? 0 : 1
}
