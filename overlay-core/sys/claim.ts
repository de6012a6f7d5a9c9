import { isErrno } from '../api/errno.ts'
import { bind, type ResultOf, type SystemCall, step, tryCall } from './call.ts'
import { sysError } from './error.ts'
import { closeSync, openDirectory, openRoot } from './open.ts'

const EAGAIN = 11
const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4

const flock = bind<[fd: number, operation: number]>('int flock(int, int)', false)

/**
 * Claims a directory for this process, across processes. Returns a descriptor that holds the claim until it is closed, or undefined
 * if another process holds it. A claim ends with its process, so there are no stale claims.
 */
export async function claimDir(dirFd: number, operation = LOCK_EX): Promise<number | undefined> {
  const fd = await openDirectory(dirFd)
  const result = await tryCall('flock', flock, fd, operation | LOCK_NB)
  if (result >= 0) return fd
  closeSync(fd)
  if (result === -EAGAIN) return undefined
  throw sysError('flock', -result)
}

/** Claims the directory at `path`, as `claimDir`. Returns a function that ends the claim. */
export async function claimDirectory(path: string, operation = LOCK_EX): Promise<(() => void) | undefined> {
  const dirFd = await openRoot(path)
  try {
    const fd = await claimDir(dirFd, operation)
    return fd === undefined ? undefined : () => closeSync(fd)
  } finally {
    closeSync(dirFd)
  }
}

/** Whether a process has claimed the directory at `path`. False if it cannot be opened, because then this process cannot tell. */
export async function isClaimed(path: string): Promise<boolean> {
  try {
    // Shared, so that two processes that ask at the same time do not take each other for a claim.
    const release = await claimDirectory(path, LOCK_SH)
    release?.()
    return release === undefined
  } catch (error) {
    if (!isErrno(error)) throw error
    return false
  }
}

/** Claims the directory that an earlier step has opened for reading, as a step of `tryCalls`. */
export function claimStep(fd: ResultOf): SystemCall {
  return step('flock', flock, fd, LOCK_EX | LOCK_NB)
}
