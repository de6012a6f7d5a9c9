/** The error names that overlay-core may report, by their errno(3) names and Linux numbers. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EOPNOTSUPP: 95,
  ESTALE: 116,
  EDQUOT: 122,
} as const

/** The name of an error, for example `ENOENT`. */
export type Errno = keyof typeof ERRNO

/**
 * The one error class of overlay-core: `code` says what went wrong, `op` which operation met it and `name` (if any) the
 * last component concerned. Real paths of layers are never part of the message. No stack is captured: an ordinary errno
 * is an answer, not a fault.
 */
export class OverlayError extends Error {
  readonly code: Errno
  readonly op: string

  constructor(code: Errno, op: string, name?: string, cause?: unknown) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(name === undefined ? `${op}: ${code}` : `${op} ${JSON.stringify(name)}: ${code}`)
    Error.stackTraceLimit = limit
    this.name = 'OverlayError'
    this.code = code
    this.op = op
    if (cause !== undefined) this.cause = cause
  }
}

/** Runs what follows a change that was made already, and so must not make the call fail: errors of the file system are let go. */
export async function bestEffort(work: () => unknown): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isErrno(error)) throw error
  }
}

/** Whether `error` is an OverlayError, and when `codes` are given, one of those. */
export function isErrno(error: unknown, ...codes: Errno[]): error is OverlayError {
  return error instanceof OverlayError && (codes.length === 0 || codes.includes(error.code))
}
