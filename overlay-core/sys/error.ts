import { getSystemErrorName } from 'node:util'
import { ERRNO, type Errno, OverlayError } from '../api/errno.ts'

const codes = new Map<number, Errno>(
  (Object.entries(ERRNO) as [Errno, number][]).map(([code, number]) => [number, code]),
)

/**
 * Creates the OverlayError for a kernel errno: `op` is the system call, `name` the component concerned. An errno that the core has
 * no name for becomes EIO, with the kernel's name as `cause`. All errors for errnos are created here.
 */
export function sysError(op: string, errno: number, name?: string): OverlayError {
  const code = codes.get(errno)
  if (code !== undefined) return new OverlayError(code, op, name)
  return new OverlayError('EIO', op, name, errnoText(errno))
}

/** Creates the error for a call whose arguments were refused before it reached the kernel: EINVAL with the refusal as `cause`. */
export function argumentError(op: string, cause: unknown, name?: string): OverlayError {
  return new OverlayError('EINVAL', op, name, cause)
}

function errnoText(errno: number): string {
  const known = Number.isInteger(errno) && errno > 0 && errno < 4096
  return known ? `errno ${errno} (${getSystemErrorName(-errno)})` : `errno ${errno}`
}
