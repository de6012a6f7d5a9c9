import { after } from '../api/maybe-promise.ts'
import type { MaybePromise } from '../api/types.ts'
import { chmodStep, chownStep } from './attr.ts'
import { failureOf, ResultOf, type SystemCall, tryCalls } from './call.ts'
import { tryCallsElsewhere } from './calls-elsewhere.ts'
import { writeStep } from './data.ts'
import { renameStep, unlinkStep } from './dir.ts'
import { sysError } from './error.ts'
import { O_CREAT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY, RENAME_NOREPLACE } from './flags.ts'
import { closeLater, closeStep, openStep } from './open.ts'
import { absentStep } from './stat.ts'

const EEXIST = 17
const ENOSPC = 28
const NEW = O_RDWR | O_CREAT | O_EXCL

/** The directory and name of a new file, and other directories in which the name must be absent. */
export interface NewPlace {
  readonly dirFd: number
  readonly name: string
  readonly absentFrom: readonly number[]
}

/** How a file is built in another directory first: under a temporary name, with this owner. */
export interface Aside {
  readonly workFd: number
  readonly temp: string
  readonly uid: number
  readonly gid: number
}

/**
 * Creates an empty regular file with this mode, in one trip. Returns its descriptor, or -1 if the name exists, here or in `absentFrom`. With `aside`
 * it gets its owner before its name. If that fails, nothing is left, except the temporary file if its removal fails too.
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
      throw failureOf(steps, results, name)
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
    // The mode comes last, because a change of owner clears setuid and setgid.
    chownStep(new ResultOf(file), '', uid, gid),
    chmodStep(new ResultOf(file), mode),
    renameStep(workFd, temp, dirFd, name, RENAME_NOREPLACE),
  ]
}

/**
 * Replaces `name` by a small file with this content, mode 0600, which is written as `temp` in the same directory, in two trips, never on the event loop. Nothing is
 * synced. If it fails, `temp` may be left.
 *
 * @throws ENOSPC | EDQUOT | EROFS | EIO
 */
export async function placeFile(dirFd: number, temp: string, name: string, content: Uint8Array): Promise<void> {
  const file = new ResultOf(0)
  const steps: SystemCall[] = [
    openStep(dirFd, temp, O_WRONLY | O_CREAT | O_TRUNC, 0o600),
    writeStep(file, content),
    closeStep(file),
  ]
  const [fd = -1, written = 0, ...closed] = await tryCallsElsewhere(steps)
  if (fd >= 0 && closed.length === 0) closeLater(fd)
  if (fd < 0) throw sysError('openat', -fd, temp)
  if (written < content.length) throw sysError('pwrite', written < 0 ? -written : ENOSPC, temp)
  const rename = [renameStep(dirFd, temp, dirFd, name)]
  const failure = failureOf(rename, await tryCallsElsewhere(rename), name)
  if (failure) throw failure
}
