import type { FsckRequest } from '../../config/index.ts'
import { isErrno, OptionError } from '../../overlay-core/index.ts'
import type { Output } from '../config-command.ts'
import type { Problem } from './problem.ts'
import { claimFor, type Target, targetOf } from './targets.ts'

/** The exit statuses of fsck(8). */
const STATUS = { clean: 0, corrected: 1, uncorrected: 4, failed: 8 } as const
/** The number of findings of one kind that are printed for people; all are in the JSON. */
const MOST_OF_A_KIND = 20

/** A finding, as it is printed. */
interface Told extends Omit<Problem, 'fix'> {
  readonly done: boolean
  /** Why the repair failed. */
  readonly failure?: string
}

/**
 * `overlayd fsck`: checks, and repairs with `--yes`. Returns the exit status.
 *
 * @throws OptionError there is nothing to check, or it is in use and shall be repaired
 */
export async function runFsck(asked: FsckRequest, { print, printError }: Output): Promise<number> {
  const target = await targetOf(asked)
  const release = await claimFor(target)
  if (release === undefined && asked.yes)
    throw new OptionError('--yes', `${target.claimed} is in use by a server or a mount; stop that, then repair`)
  const told: Told[] = []
  try {
    for await (const problem of target.problems()) told.push(await handle(problem, asked.yes))
  } catch (error) {
    if (!isErrno(error) && (error as NodeJS.ErrnoException).code === undefined) throw error
    printError(`overlayd: the check of ${target.claimed} ended early: ${(error as Error).message}\n`)
    return STATUS.failed | statusOf(told)
  } finally {
    release?.()
  }
  if (asked.json)
    print(`${JSON.stringify({ checked: target.claimed, live: release === undefined, findings: told }, null, 2)}\n`)
  else print(textOf(told, target, release === undefined))
  return statusOf(told)
}

async function handle({ fix, ...about }: Problem, yes: boolean): Promise<Told> {
  if (!yes || fix === undefined) return { ...about, done: false }
  try {
    await fix()
    return { ...about, done: true }
  } catch (error) {
    return { ...about, done: false, failure: (error as Error).message }
  }
}

function statusOf(told: readonly Told[]): number {
  const errors = told.filter(({ severity }) => severity === 'error')
  const corrected = errors.some(({ done }) => done) ? STATUS.corrected : STATUS.clean
  return corrected | (errors.some(({ done }) => !done) ? STATUS.uncorrected : STATUS.clean)
}

function textOf(told: readonly Told[], target: Target, live: boolean): string {
  const lines: string[] = []
  const counts = new Map<string, number>()
  for (const each of told) {
    const count = (counts.get(each.code) ?? 0) + 1
    counts.set(each.code, count)
    if (count <= MOST_OF_A_KIND) lines.push(lineOf(each))
  }
  for (const [code, count] of counts)
    if (count > MOST_OF_A_KIND)
      lines.push(`… and ${count - MOST_OF_A_KIND} more of the kind ${code}; --json prints all`)
  if (!target.hasLowers)
    lines.push(
      'The lowers are not known, so whiteouts and the targets of redirects were not checked; add --lowerdir or --config.',
    )
  if (live) lines.push('It is in use, so some of this may just have been changing.')
  const errors = told.filter(({ severity, done }) => severity === 'error' && !done).length
  const mendable = told.filter(({ done, repair }) => !done && repair !== undefined).length
  const repaired = told.filter(({ done }) => done).length
  const sum = [`${told.length} findings`, `${errors} errors are left`, `${repaired} repaired`]
  lines.push(told.length === 0 ? `${target.claimed} is right.` : `${sum.join(', ')}.`)
  if (mendable > 0) lines.push(`${mendable} can be repaired: say the same with --yes.`)
  return `${lines.join('\n')}\n`
}

function lineOf({ severity, path, what, repair, done, failure }: Told): string {
  const mend = done
    ? ` Repaired: ${repair}.`
    : failure !== undefined
      ? ` The repair failed: ${failure}.`
      : repair === undefined
        ? ''
        : ` A repair would ${repair}.`
  return `${severity}: ${path.replace(/\p{Cc}/gu, '?')}: ${what}.${mend}`
}
