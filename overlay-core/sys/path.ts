import { readlinkSync } from 'node:fs'
import { fdPath } from './argument.ts'

/** The path of an open object without symlinks, `.` and `..`, for comparing the positions of directories. The kernel knows it, so this never waits. */
export function pathOfFd(fd: number): string {
  return readlinkSync(fdPath(fd))
}
