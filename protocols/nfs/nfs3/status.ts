import type { Errno } from '../../../overlay-core/index.ts'

/** `nfsstat3` (RFC 1813 section 2.6). */
export const NFS3_OK = 0
export const NFS3ERR_PERM = 1
export const NFS3ERR_NOENT = 2
export const NFS3ERR_IO = 5
export const NFS3ERR_NXIO = 6
export const NFS3ERR_ACCES = 13
export const NFS3ERR_EXIST = 17
export const NFS3ERR_XDEV = 18
export const NFS3ERR_NODEV = 19
export const NFS3ERR_NOTDIR = 20
export const NFS3ERR_ISDIR = 21
export const NFS3ERR_INVAL = 22
export const NFS3ERR_FBIG = 27
export const NFS3ERR_NOSPC = 28
export const NFS3ERR_ROFS = 30
export const NFS3ERR_MLINK = 31
export const NFS3ERR_NAMETOOLONG = 63
export const NFS3ERR_NOTEMPTY = 66
export const NFS3ERR_DQUOT = 69
export const NFS3ERR_STALE = 70
export const NFS3ERR_BADHANDLE = 10001
export const NFS3ERR_NOT_SYNC = 10002
export const NFS3ERR_BAD_COOKIE = 10003
export const NFS3ERR_NOTSUPP = 10004
export const NFS3ERR_TOOSMALL = 10005
export const NFS3ERR_SERVERFAULT = 10006
export const NFS3ERR_BADTYPE = 10007
export const NFS3ERR_JUKEBOX = 10008

/** The status for each error of the core, before it is adapted to the statuses of the procedure. */
export const STATUS_OF_ERRNO = {
  EPERM: NFS3ERR_PERM,
  ENOENT: NFS3ERR_NOENT,
  EINTR: NFS3ERR_JUKEBOX,
  EIO: NFS3ERR_IO,
  ENXIO: NFS3ERR_NXIO,
  EBADF: NFS3ERR_SERVERFAULT,
  EAGAIN: NFS3ERR_JUKEBOX,
  ENOMEM: NFS3ERR_JUKEBOX,
  EACCES: NFS3ERR_ACCES,
  EBUSY: NFS3ERR_ACCES,
  EEXIST: NFS3ERR_EXIST,
  EXDEV: NFS3ERR_XDEV,
  ENODEV: NFS3ERR_NODEV,
  ENOTDIR: NFS3ERR_NOTDIR,
  EISDIR: NFS3ERR_ISDIR,
  EINVAL: NFS3ERR_INVAL,
  ENFILE: NFS3ERR_JUKEBOX,
  EMFILE: NFS3ERR_JUKEBOX,
  ETXTBSY: NFS3ERR_ACCES,
  EFBIG: NFS3ERR_FBIG,
  ENOSPC: NFS3ERR_NOSPC,
  EROFS: NFS3ERR_ROFS,
  EMLINK: NFS3ERR_MLINK,
  ERANGE: NFS3ERR_INVAL,
  ENAMETOOLONG: NFS3ERR_NAMETOOLONG,
  ENOSYS: NFS3ERR_NOTSUPP,
  ENOTEMPTY: NFS3ERR_NOTEMPTY,
  ELOOP: NFS3ERR_INVAL,
  ENODATA: NFS3ERR_IO,
  EOPNOTSUPP: NFS3ERR_NOTSUPP,
  ESTALE: NFS3ERR_STALE,
  EDQUOT: NFS3ERR_DQUOT,
} as const satisfies Record<Errno, number>

/** A status other than NFS3_OK that the protocol requires. No stack is captured, because it is not a fault. */
export class Nfs3Error extends Error {
  readonly status: number

  constructor(status: number) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(`status ${status}`)
    Error.stackTraceLimit = limit
    this.name = 'Nfs3Error'
    this.status = status
  }
}
