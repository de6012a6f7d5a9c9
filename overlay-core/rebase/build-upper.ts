import { join } from 'node:path'
import { isErrno } from '../api/errno.ts'
import type { Overlay, Stack } from '../api/overlay-api.ts'
import type { MountOptions } from '../api/params.ts'
import type { Cred } from '../api/types.ts'
import { INDEX } from '../lookup/hardlink.ts'
import { FRESH_INDEX, FRESH_UPPER } from '../mount/frozen-place.ts'
import { mount } from '../mount/mount.ts'
import { mkdirAt, readdirFd, renameAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt, openRoot } from '../sys/open.ts'
import type { PathOutcome } from './outcome.ts'
import { type Beside, rebuild } from './rebuild.ts'

/** The workdir in which a new upper is built. */
const WORK = 'building'

/** What an upper is built from. */
export interface BuildParts {
  readonly cred: Cred
  /** The view on the old base. What is changed in it meanwhile may be missing. */
  readonly view: Overlay
  /** The empty directory that is passed to `Overlay.freeze` afterwards, on the file system of the upper. */
  readonly directory: string
  /** The options of the view on the new base. */
  readonly options: MountOptions
  readonly stack: Stack | undefined
  readonly outcomes: readonly PathOutcome[]
  /** What names of the base that are put beside those of the user end with, after a dot. */
  readonly suffix: string
}

/**
 * Builds in a directory the upper that a view gets on a new base, for `Overlay.freeze` with `prepared`. It is durable when this resolves, unless the overlay is volatile.
 * After an error the directory has to be deleted.
 *
 * @throws ENOSPC | EDQUOT | EIO
 */
export async function buildUpper(parts: BuildParts): Promise<Beside> {
  const { cred, view, directory, options, stack, outcomes, suffix } = parts
  const directoryFd = await openRoot(directory)
  try {
    await mkdirAt(directoryFd, FRESH_UPPER, 0o700)
    await mkdirAt(directoryFd, WORK, 0o700)
    const own = { upperdir: join(directory, FRESH_UPPER), workdir: join(directory, WORK) }
    const target = await mount({ ...options, ...own, frozen: 0 }, { stack, claimed: true })
    let beside: Beside
    try {
      beside = await rebuild({ cred, view, target, outcomes, suffix })
    } finally {
      await target.unmount({ sync: !options.volatile })
    }
    await keepIndex(directoryFd)
    return beside
  } finally {
    closeSync(directoryFd)
  }
}

/** Takes the index out of the workdir, if anything is in it. */
async function keepIndex(directoryFd: number): Promise<void> {
  const workFd = await openAt(directoryFd, WORK, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    const indexFd = await openAt(workFd, INDEX, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      if ((await readdirFd(indexFd)).length === 0) return
    } finally {
      closeSync(indexFd)
    }
    await renameAt(workFd, INDEX, directoryFd, FRESH_INDEX)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  } finally {
    closeSync(workFd)
  }
}
