import { chmod, chown, mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { actsAsRoot, isUnwritable, type MountOptions, OptionError } from '../overlay-core/index.ts'
import { isThere, makeDirectory } from './make-directory.ts'
import { asideName } from './whole-file.ts'

/** Other users cannot enter the parent, because files that clients create in an upper must be reached only through the server. */
const PRIVATE = 0o700

/**
 * Creates missing upper and work directories. A new upper gets the mode of the root of the topmost layer, and its owner unless another one is
 * given, because clients see it as the root. It appears complete or not at all. Returns false if there is no upper because its disk is full or read-only.
 *
 * @throws OptionError naming `directory`
 */
export async function makeUpper(
  { upperdir, workdir, lowerdir }: MountOptions,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<boolean> {
  if (upperdir === undefined || workdir === undefined) return true
  try {
    await makeDirectory(dirname(upperdir))
    await makeDirectory(workdir)
    if (await isThere(upperdir)) return true
    const root = await stat(lowerdir[0] as string)
    const making = asideName(upperdir)
    await rm(making, { recursive: true, force: true })
    await mkdir(making, { mode: PRIVATE })
    const { uid, gid } = owner ?? root
    if (actsAsRoot() || owner !== undefined) await chown(making, uid, gid)
    await chmod(making, root.mode & 0o7777)
    await rename(making, upperdir)
    return true
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    if (isUnwritable(error) && !(await isThere(upperdir))) return false
    if (code === undefined || isUnwritable(error)) throw error
    throw new OptionError('directory', `${path ?? upperdir} cannot be created (${code}); choose another directory`)
  }
}
