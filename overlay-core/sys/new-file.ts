import { chmodStep, chownStep } from './attr.ts'
import { ResultOf, tryCalls } from './call.ts'
import { renameStep, unlinkStep } from './dir.ts'
import { sysError } from './error.ts'
import { O_CREAT, O_EXCL, O_RDWR, RENAME_NOREPLACE } from './flags.ts'
import { closeStep, openStep } from './open.ts'

/**
 * Makes an empty regular file as `temp` in the directory `workFd`, gives it its owner and mode and moves it to `name` in `dirFd`, on one
 * trip; returns its descriptor. Where that fails nothing is left but, should even the removal fail, the temporary file.
 *
 * @throws EEXIST `name` is taken · ENOSPC | EDQUOT | EIO
 */
export async function buildFile(
  workFd: number,
  temp: string,
  dirFd: number,
  name: string,
  owner: { readonly uid: number; readonly gid: number; readonly mode: number },
): Promise<number> {
  const file = new ResultOf(0)
  const steps = [
    openStep(workFd, temp, O_RDWR | O_CREAT | O_EXCL, 0o600),
    // The mode last, as a change of owner takes setuid and setgid away.
    chownStep(file, owner.uid, owner.gid),
    chmodStep(file, owner.mode),
    renameStep(workFd, temp, dirFd, name, RENAME_NOREPLACE),
  ]
  const results = await tryCalls(steps)
  const failed = results.at(-1) as number
  if (failed >= 0) return results[0] as number
  if (results.length > 1) await tryCalls([unlinkStep(workFd, temp), closeStep(results[0] as number)])
  throw sysError((steps[results.length - 1] as { op: string }).op, -failed, name)
}
