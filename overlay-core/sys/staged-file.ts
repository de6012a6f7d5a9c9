import { chownStep } from './attr.ts'
import { bind, failureOf, ResultOf, type SystemCall, step, tryCalls } from './call.ts'
import { unlinkStep } from './dir.ts'
import { O_CREAT, O_EXCL, O_RDWR } from './flags.ts'
import { closeStep, openStep } from './open.ts'

const pwrite = bind<[fd: number, data: Uint8Array, length: number, position: number]>(
  'int64_t pwrite(int, const void *, size_t, int64_t)',
)

/** A new file: its descriptor, and how many bytes of the content were written (fewer than all if the disk is full). */
export interface StartedFile {
  readonly fd: number
  readonly written: number
}

/**
 * Creates a regular file `name` in `dirFd`, open for reading and writing, changes its owner to `owner` (undefined: no change), and writes its first
 * bytes, in one trip. If that fails, nothing is left, except the file if its removal fails too.
 *
 * @throws EEXIST · ENOSPC | EDQUOT | EIO
 */
export async function startFile(
  dirFd: number,
  name: string,
  mode: number,
  owner: { readonly uid: number; readonly gid: number } | undefined,
  content: Uint8Array,
): Promise<StartedFile> {
  const file = new ResultOf(0)
  const steps: SystemCall[] = [openStep(dirFd, name, O_RDWR | O_CREAT | O_EXCL, mode)]
  if (owner) steps.push(chownStep(file, '', owner.uid, owner.gid))
  if (content.length > 0) steps.push(step('pwrite', pwrite, file, content, content.length, 0))
  const results = await tryCalls(steps)
  const last = results.at(-1) as number
  if (last >= 0) return { fd: results[0] as number, written: content.length > 0 ? last : 0 }
  if (results.length > 1) await tryCalls([unlinkStep(dirFd, name), closeStep(results[0] as number)])
  throw failureOf(steps, results, name)
}
