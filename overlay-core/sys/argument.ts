import { OverlayError } from '../api/errno.ts'

/** `text` (one byte per code unit) as a C string of its own, for calls that run in the pool. @throws EINVAL it holds a NUL */
export function cString(op: string, text: string): Buffer {
  if (text.includes('\0')) throw new OverlayError('EINVAL', op, text)
  return Buffer.from(`${text}\0`, 'latin1')
}

/**
 * `name` as a C string, after making sure that it is one component, so that no call leaves the directory that it was given:
 * only openat2(2) may take more. @throws EINVAL it is empty, `.`, `..`, or holds "/" or NUL
 */
export function component(op: string, name: string): Buffer {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) throw new OverlayError('EINVAL', op, name)
  return cString(op, name)
}

/** The path through which the kernel finds a held descriptor itself; open(2) of it never follows a symlink held by O_PATH. */
export function fdPath(fd: number): string {
  return `/proc/self/fd/${fd}`
}
