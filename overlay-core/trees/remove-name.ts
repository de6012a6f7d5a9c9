import { isErrno } from '../api/errno.ts'
import { readdirFd, renameAt, rmdirAt, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'

/** Removes what is at a name, with everything in it. Nobody else may change it meanwhile. Directories are opened one below the other, so depth is not limited by paths. */
export async function removeName(dirFd: number, name: string): Promise<void> {
  try {
    return await unlinkAt(dirFd, name)
  } catch (error) {
    if (!isErrno(error, 'EISDIR', 'EPERM')) throw error
  }
  const fd = await openAt(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    for (;;) {
      const deep: string[] = []
      for (const entry of await readdirFd(fd)) {
        try {
          await unlinkAt(fd, entry.name)
        } catch (error) {
          if (!isErrno(error, 'EISDIR', 'EPERM')) throw error
          deep.push(entry.name)
        }
      }
      if (deep.length === 0) break
      for (const inside of deep) await emptyInto(fd, inside)
    }
  } finally {
    closeSync(fd)
  }
  await rmdirAt(dirFd, name)
}

let moved = 0

/** Removes a directory after its subdirectories were moved up beside it. */
async function emptyInto(dirFd: number, name: string): Promise<void> {
  const fd = await openAt(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    for (const entry of await readdirFd(fd)) {
      try {
        await unlinkAt(fd, entry.name)
      } catch (error) {
        if (!isErrno(error, 'EISDIR', 'EPERM')) throw error
        await renameAt(fd, entry.name, dirFd, `.removed-${process.pid}-${moved++}`)
      }
    }
  } finally {
    closeSync(fd)
  }
  await rmdirAt(dirFd, name)
}
