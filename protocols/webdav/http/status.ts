import { STATUS_CODES } from 'node:http'
import { type Errno, OverlayError } from '../../../overlay-core/index.ts'
import { DavError } from './dav-error.ts'

/** The HTTP status for each error of overlay-core, unless the method defines a more precise one. */
export const STATUS_OF_ERRNO = {
  EPERM: 403,
  ENOENT: 404,
  EINTR: 503,
  EIO: 500,
  ENXIO: 500,
  EBADF: 500,
  EAGAIN: 503,
  ENOMEM: 503,
  EACCES: 403,
  EBUSY: 409,
  EEXIST: 409,
  EXDEV: 403,
  ENODEV: 500,
  ENOTDIR: 409,
  EISDIR: 409,
  EINVAL: 400,
  ENFILE: 503,
  EMFILE: 503,
  ETXTBSY: 409,
  EFBIG: 413,
  ENOSPC: 507,
  EROFS: 403,
  EMLINK: 403,
  ERANGE: 500,
  ENAMETOOLONG: 414,
  ENOSYS: 501,
  ENOTEMPTY: 409,
  ELOOP: 404,
  ENODATA: 404,
  EOPNOTSUPP: 501,
  ESTALE: 404,
  EDQUOT: 507,
} as const satisfies Record<Errno, number>

/** The status for `error`; 500 for unexpected errors. */
export function statusOf(error: unknown): number {
  if (error instanceof DavError) return error.HTTPCode
  if (error instanceof OverlayError) return STATUS_OF_ERRNO[error.code]
  return 500
}

/** A status line as used in multistatus bodies, for example `HTTP/1.1 404 Not Found`. */
export function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}`
}
