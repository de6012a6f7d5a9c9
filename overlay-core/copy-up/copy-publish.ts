import { bestEffort, OverlayError } from '../api/errno.ts'
import type { Real } from '../layer/layer.ts'
import { setImpure } from '../lookup/marks.ts'
import type { Alias, OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { timesStep, utimesAt } from '../sys/attr.ts'
import { type SystemCall, tryCalls } from '../sys/call.ts'
import { statxFd } from '../sys/stat.ts'

/** The destination of a copy. @throws ESTALE the last name was removed */
export function needAlias(inode: OvlInode): Alias {
  const { alias } = inode
  if (!alias) throw new OverlayError('ESTALE', 'copy-up')
  return alias
}

/** Makes the published real object `upper` the topmost one of the inode. */
export function installCopy(sb: SuperBlock, inode: OvlInode, upper: Real): void {
  inode.upper = upper
  inode.hasOrigin = true
  sb.dcache.addUpper(inode)
  sb.files.retarget(inode)
  inode.changed()
  // From now on its place is its own: the lower may be moved, and it may be.
  sb.handles.remember(inode)
}

/**
 * Runs `change` in the upper of `dir` and restores the directory's times, unless somebody else changes the directory meanwhile: that
 * change keeps a new time.
 */
export async function keepingTimes(
  sb: SuperBlock,
  dir: OvlInode,
  change: (dirFd: number) => Promise<void>,
): Promise<void> {
  const upper = dir.upper as Real
  await setImpure(sb, upper)
  const fd = await sb.descriptors.of(upper)
  const { changes } = dir
  const times = statxFd(fd)
  await change(fd)
  await bestEffort(async () => {
    if (dir.changes !== changes) return
    dir.timesKept++
    await utimesAt(fd, '', times.atime, times.mtime)
    dir.timesKept++
    if (dir.changes !== changes) await utimesAt(fd, '', undefined, 'now')
  })
}

/**
 * Like `keepingTimes`, in one trip: makes the calls that `stepsFor` returns and restores the times. Returns the results of the calls that were
 * made, up to the first that failed.
 */
export async function stepsKeepingTimes(
  sb: SuperBlock,
  dir: OvlInode,
  stepsFor: (dirFd: number) => readonly SystemCall[],
): Promise<readonly number[]> {
  const upper = dir.upper as Real
  await setImpure(sb, upper)
  const fd = await sb.descriptors.of(upper)
  const { changes } = dir
  const { atime, mtime } = statxFd(fd)
  const steps = stepsFor(fd)
  dir.timesKept++
  const results = await tryCalls([...steps, timesStep(fd, '', atime, mtime)])
  dir.timesKept++
  if (results.length > steps.length && dir.changes !== changes)
    await bestEffort(() => utimesAt(fd, '', undefined, 'now'))
  return results.slice(0, steps.length)
}
