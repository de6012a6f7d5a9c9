import { OverlayError } from '../api/errno.ts'

/** Copies `text` (one byte per code unit) to a C string, for calls that run in the pool. @throws EINVAL it contains a NUL */
export function cString(op: string, text: string): Buffer {
  if (text.includes('\0')) throw new OverlayError('EINVAL', op, text)
  return Buffer.from(`${text}\0`, 'latin1')
}

/**
 * Copies `name` to a C string after checking that it is one component, so that no call leaves the given directory:
 * only openat2(2) accepts more. @throws EINVAL it is empty, `.` or `..`, or contains "/" or NUL
 */
export function component(op: string, name: string): Buffer {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) throw new OverlayError('EINVAL', op, name)
  return cString(op, name)
}

/** The path under which the kernel finds an open descriptor; open(2) of it never follows a symlink held by O_PATH. */
export function fdPath(fd: number): string {
  return `/proc/self/fd/${fd}`
}
