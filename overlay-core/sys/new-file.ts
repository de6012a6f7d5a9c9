import { after } from '../api/maybe-promise.ts'
import type { MaybePromise } from '../api/types.ts'
import { chmodStep, chownStep } from './attr.ts'
import { ResultOf, type SystemCall, tryCalls } from './call.ts'
import { renameStep, unlinkStep } from './dir.ts'
import { sysError } from './error.ts'
import { O_CREAT, O_EXCL, O_RDWR, RENAME_NOREPLACE } from './flags.ts'
import { closeStep, openStep } from './open.ts'
import { absentStep } from './stat.ts'

const EEXIST = 17
const NEW = O_RDWR | O_CREAT | O_EXCL

/** Where a new file is to be, and in which other directories its name must not be. */
export interface NewPlace {
  readonly dirFd: number
  readonly name: string
  readonly absentFrom: readonly number[]
}

/** How a file is built aside: under a name of its own in another directory, with this owner. */
export interface Aside {
  readonly workFd: number
  readonly temp: string
  readonly uid: number
  readonly gid: number
}

/**
 * Makes an empty regular file with this mode, on one trip; returns its descriptor, -1 when the name is taken, here or elsewhere. With `aside`
 * it gets its owner before its name; where that fails nothing is left but, should even the removal fail, the temporary file.
 *
 * @throws ENOSPC | EDQUOT | EIO
 */
export function newFile({ dirFd, name, absentFrom }: NewPlace, mode: number, aside?: Aside): MaybePromise<number> {
  const steps = absentFrom.map((fd) => absentStep(fd, name))
  const file = steps.length
  if (aside) steps.push(...asideSteps(file, dirFd, name, mode, aside))
  else steps.push(openStep(dirFd, name, NEW, mode))
  return after(tryCalls(steps), (results) => {
    const last = results.length - 1
    const result = results[last] as number
    if (last === steps.length - 1 && result >= 0) return results[file] as number
    const refused = () => {
      if (result === -EEXIST || (last < file && result >= 0)) return -1
      throw sysError((steps[last] as SystemCall).op, -result, name)
    }
    if (aside === undefined || last <= file) return refused()
    return after(tryCalls([unlinkStep(aside.workFd, aside.temp), closeStep(results[file] as number)]), refused)
  })
}

function asideSteps(
  file: number,
  dirFd: number,
  name: string,
  mode: number,
  { workFd, temp, uid, gid }: Aside,
): SystemCall[] {
  return [
    openStep(workFd, temp, NEW, 0o600),
    // The mode last, as a change of owner takes setuid and setgid away.
    chownStep(new ResultOf(file), uid, gid),
    chmodStep(new ResultOf(file), mode),
    renameStep(workFd, temp, dirFd, name, RENAME_NOREPLACE),
  ]
}
