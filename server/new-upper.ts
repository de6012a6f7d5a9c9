import { chmod, chown, mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type MountOptions, OptionError } from '../overlay-core/index.ts'
import { asideName } from './state-dir.ts'

/** The parent is nobody else's business: what clients put into an upper must not be reached past the server. */
const PRIVATE = 0o700

/**
 * Creates the upper and work directories that are missing. A new upper gets the mode of the root of the topmost layer, and its owner unless another one is
 * given, because it is the root that clients see. It appears whole or not at all.
 *
 * @throws OptionError naming `directory`
 */
export async function makeUpper(
  { upperdir, workdir, lowerdir }: MountOptions,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<void> {
  if (upperdir === undefined || workdir === undefined) return
  try {
    await mkdir(dirname(upperdir), { recursive: true, mode: PRIVATE })
    await mkdir(workdir, { recursive: true, mode: PRIVATE })
    if (await isThere(upperdir)) return
    const root = await stat(lowerdir[0] as string)
    const making = asideName(upperdir)
    await rm(making, { recursive: true, force: true })
    await mkdir(making, { mode: PRIVATE })
    const { uid, gid } = owner ?? root
    const own = process.geteuid?.()
    if (own === 0 || owner !== undefined) await chown(making, uid, gid)
    await chmod(making, root.mode & 0o7777)
    await rename(making, upperdir)
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    if (code === undefined || ['EROFS', 'ENOSPC', 'EDQUOT'].includes(code)) throw error
    throw new OptionError('directory', `${path ?? upperdir} cannot be created (${code}); choose another directory`)
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
