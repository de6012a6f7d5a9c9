import type { MaybePromise } from './types.ts'

/** The errors of overlay-core, by errno(3) name and Linux number. */
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
 * The only error class of overlay-core: `code` is the error, `op` the failed operation and `name` (if any) the
 * last path component. The message never contains real paths of layers. No stack is captured, because an ordinary errno
 * is a result and not a fault.
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

/** Runs work after a completed change, which must not fail the call: file system errors are ignored. */
export function bestEffort(work: () => unknown): MaybePromise<void> {
  let result: unknown
  try {
    result = work()
  } catch (error) {
    passOver(error)
  }
  return result instanceof Promise ? result.then(() => undefined, passOver) : undefined
}

function passOver(error: unknown): void {
  if (!isErrno(error)) throw error
}

const UNWRITABLE: ReadonlySet<unknown> = new Set<Errno>(['ENOSPC', 'EDQUOT', 'EROFS'])
/** Errors of Node have the number with a minus sign, and no name for EDQUOT. */
const NODE_EDQUOT = -ERRNO.EDQUOT

/** Whether `error`, an OverlayError or an error of Node, says that a file system accepts no writes at present: it is full, over quota or read-only. */
export function isUnwritable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, errno } = error as NodeJS.ErrnoException
  return UNWRITABLE.has(code) || errno === NODE_EDQUOT
}

/** Whether `error` is an OverlayError, and if `codes` are given, has one of them. */
export function isErrno(error: unknown, ...codes: Errno[]): error is OverlayError {
  return error instanceof OverlayError && (codes.length === 0 || codes.includes(error.code))
}
