import { ResultOf, type SystemCall, tryCalls } from './call.ts'
import { claimStep } from './claim.ts'
import { ListOut, listSteps } from './dir.ts'
import { closeLater, closeStep, openDirectoryStep, openPathStep } from './open.ts'
import { StatOut, uniqueMountStep } from './stat.ts'

/** Upper and workdir of an overlay, opened together. */
export interface OwnRootsOpened {
  readonly upperFd: number
  readonly workFd: number
  /** The mounts through which they are accessed (`uniqueMountId`). */
  readonly upperMount: string | undefined
  readonly workMount: string | undefined
  /** Closing these releases the claims. */
  readonly claims: readonly number[]
  readonly workNames: ReadonlySet<string>
}

/** The steps that open something. */
const [UPPER, WORK, UPPER_NAMES, WORK_NAMES] = [0, 1, 4, 5]

/**
 * Opens upper and workdir as O_PATH descriptors, checks that they are readable, claims them if asked to (`claimDir`) and lists the workdir, all in one trip
 * to a thread. Undefined if anything fails or the workdir has many names: the single calls tell what is wrong.
 */
export async function openOwnRoots(upper: string, work: string, claim: boolean): Promise<OwnRootsOpened | undefined> {
  const upperOut = new StatOut()
  const workOut = new StatOut()
  const list = new ListOut()
  const steps: SystemCall[] = [
    openPathStep(upper),
    openPathStep(work),
    uniqueMountStep(new ResultOf(UPPER), upperOut),
    uniqueMountStep(new ResultOf(WORK), workOut),
    openDirectoryStep(new ResultOf(UPPER)),
    openDirectoryStep(new ResultOf(WORK)),
  ]
  const names = [UPPER_NAMES, WORK_NAMES].map((at) => new ResultOf(at)) as [ResultOf, ResultOf]
  if (claim) steps.push(...names.map(claimStep))
  const listing = steps.length
  steps.push(...listSteps(names[1], list))
  if (!claim) steps.push(...names.map(closeStep))
  const results = await tryCalls(steps)
  const isDone = results.length === steps.length && (results.at(-1) as number) >= 0
  const workNames = isDone ? list.names(results[listing] as number, results[listing + 1] as number) : undefined
  if (workNames === undefined) {
    abandon(results, !claim && results.length > listing + 2)
    return undefined
  }
  const [upperFd, workFd] = [results[UPPER] as number, results[WORK] as number]
  const claims = claim ? [results[UPPER_NAMES] as number, results[WORK_NAMES] as number] : []
  return {
    ...{ upperFd, workFd, claims, workNames },
    ...{ upperMount: upperOut.uniqueMountId, workMount: workOut.uniqueMountId },
  }
}

/** Closes what the steps have opened. @param closing whether the steps that close had begun */
function abandon(results: readonly number[], closing: boolean): void {
  const open = closing ? [UPPER, WORK] : [UPPER, WORK, UPPER_NAMES, WORK_NAMES]
  for (const at of open) if ((results[at] ?? -1) >= 0) closeLater(results[at] as number)
}
