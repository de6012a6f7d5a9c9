import { isErrno } from '../api/errno.ts'
import { seekData, seekHole } from '../sys/data.ts'
import { statxFd } from '../sys/stat.ts'

/** @see OpenFile.nextData */
export async function nextData(fd: number, position: number): Promise<number> {
  try {
    const start = await seekData(fd, position)
    return start >= 0 ? start : Math.max(position, statxFd(fd).size)
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'ENOSYS')) throw error
    return position
  }
}

/** @see OpenFile.nextHole */
export async function nextHole(fd: number, position: number): Promise<number> {
  const { size } = statxFd(fd)
  try {
    const start = await seekHole(fd, position)
    return start >= 0 ? start : Math.max(position, size)
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'ENOSYS')) throw error
    return Math.max(position, size)
  }
}
