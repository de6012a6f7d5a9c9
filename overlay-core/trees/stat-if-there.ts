import { isErrno } from '../api/errno.ts'
import { type Stat, statxAt } from '../sys/stat.ts'

/** The attributes of what is at a name, of which no symlink is followed; undefined if nothing is there. */
export async function statIfThere(dirFd: number, name: string): Promise<Stat | undefined> {
  try {
    return await statxAt(dirFd, name)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
