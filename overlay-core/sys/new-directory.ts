import { after } from '../api/maybe-promise.ts'
import type { MaybePromise } from '../api/types.ts'
import { chownStep } from './attr.ts'
import { failureOf, ResultOf, type SystemCall, tryCalls } from './call.ts'
import { tryCallsElsewhere } from './calls-elsewhere.ts'
import { mkdirStep, renameStep, rmdirStep } from './dir.ts'
import { sysError } from './error.ts'
import { O_DIRECTORY, O_PATH, RENAME_NOREPLACE } from './flags.ts'
import { closeStep, closeSync, openStep } from './open.ts'
import { type Stat, StatOut, statStep } from './stat.ts'
import { GOES_ON_AFTER_FAILURE } from './thread-layout.ts'

const EEXIST = 17
/** The steps whose results are needed afterwards. */
const MKDIR = 0
const OPEN = 2

/** A new directory: its O_PATH descriptor and its attributes right before it got its name. */
export interface NewDirectory {
  readonly fd: number
  readonly stat: Stat
}

/**
 * Creates an empty directory with this mode (0…0o1777, with the umask of the process) and owner as `temp` in `workFd`, and gives it the name `name` in
 * `dirFd`, in one trip. Undefined if the name exists. If it fails, nothing is left, except the temporary directory if its removal fails too.
 *
 * @throws ENOSPC | EDQUOT | EIO
 */
export function newDirectory(
  from: { readonly workFd: number; readonly temp: string },
  to: { readonly dirFd: number; readonly name: string },
  owner: { readonly uid: number; readonly gid: number; readonly mode: number },
): MaybePromise<NewDirectory | undefined> {
  const { workFd, temp } = from
  const out = new StatOut()
  const steps: SystemCall[] = [
    mkdirStep(workFd, temp, owner.mode),
    chownStep(workFd, temp, owner.uid, owner.gid),
    openStep(workFd, temp, O_PATH | O_DIRECTORY),
    statStep(new ResultOf(OPEN), out),
    renameStep(workFd, temp, to.dirFd, to.name, RENAME_NOREPLACE),
  ]
  return after(tryCalls(steps), (results) => {
    const last = results.length - 1
    const result = results[last] as number
    if (last === steps.length - 1 && result >= 0) return { fd: results[OPEN] as number, stat: out.stat }
    const refused = () => {
      if (last === steps.length - 1 && result === -EEXIST) return undefined
      throw failureOf(steps, results, to.name)
    }
    if (last === MKDIR) return refused()
    const fd = last > OPEN ? (results[OPEN] as number) : -1
    return after(tryCalls([rmdirStep(workFd, temp), ...(fd < 0 ? [] : [closeStep(fd)])]), refused)
  })
}

/**
 * Opens the directory `name` in `dirFd` as an O_PATH descriptor, and creates it with this mode if it is absent, in one trip, never on the event loop.
 *
 * @throws ENOTDIR | ELOOP something else has the name · ENOSPC | EDQUOT | EROFS | EIO
 */
export async function openOrMakeDirectory(dirFd: number, name: string, mode: number): Promise<number> {
  const make = { ...mkdirStep(dirFd, name, mode), flags: GOES_ON_AFTER_FAILURE }
  const [made = 0, fd = -1] = await tryCallsElsewhere([make, openStep(dirFd, name, O_PATH | O_DIRECTORY)])
  if (made < 0 && made !== -EEXIST) {
    if (fd >= 0) closeSync(fd)
    throw sysError('mkdirat', -made, name)
  }
  if (fd < 0) throw sysError('openat', -fd, name)
  return fd
}
