import { isErrno } from '../api/errno.ts'
import type { Name } from '../api/types.ts'
import { O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from '../sys/flags.ts'
import { openAt, reopen } from '../sys/open.ts'

/** Flags with which opening a real file never waits for a peer and never follows a symlink. */
export const NEVER_WAITS = O_NOFOLLOW | O_NONBLOCK

/** Opens a real file for reading, without updating its access time if the server may do so. */
export async function openForReading(dirFd: number, name: Name): Promise<number> {
  return await openQuietly(dirFd, name, O_RDONLY)
}

/**
 * Opens a real file, or with '' the object of the O_PATH descriptor itself, so that reads do not update its access time if the server may do
 * so, as its owner or as root.
 */
export async function openQuietly(dirFd: number, name: Name, flags: number): Promise<number> {
  const open = (more: number) =>
    name === '' ? reopen(dirFd, flags | more | O_NONBLOCK) : openAt(dirFd, name, flags | more | NEVER_WAITS)
  try {
    return await open(O_NOATIME)
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error
    return await open(0)
  }
}
