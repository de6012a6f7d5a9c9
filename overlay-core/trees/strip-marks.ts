import { FileType } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { utimesAt } from '../sys/attr.ts'
import { readdirFd, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt, openRoot } from '../sys/open.ts'
import { effectiveUid } from '../sys/process.ts'
import { statxAt, statxFd } from '../sys/stat.ts'
import { getXattr, removeXattr } from '../sys/xattr.ts'

/**
 * Removes whiteouts and marks of opaque directories from a layer that never has anything below it, where they hide nothing. The kernel lists a whiteout in a directory
 * that is in one layer alone, although it finds nothing at the name. Times of directories stay. Nobody else uses the layer.
 */
export async function stripMarks(path: string): Promise<void> {
  const root = await openRoot(path)
  try {
    await stripDirectory(root, `${effectiveUid() === 0 ? 'trusted' : 'user'}.overlay.opaque`)
  } finally {
    closeSync(root)
  }
}

async function stripDirectory(fd: number, opaque: string): Promise<void> {
  const { mtime } = statxFd(fd)
  for (const { name } of await readdirFd(fd)) {
    const { type, rdevMajor, rdevMinor } = await statxAt(fd, name)
    if (type === FileType.character && rdevMajor === 0 && rdevMinor === 0) await unlinkAt(fd, name)
    if (type === FileType.directory) {
      const inside = await openAt(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
      await stripDirectory(inside, opaque).finally(() => closeSync(inside))
    }
    if (loopBudget.spent) await loopBudget.rest()
  }
  if ((await getXattr(fd, '', opaque)) !== undefined) await removeXattr(fd, '', opaque)
  await utimesAt(fd, '', mtime, mtime)
}
