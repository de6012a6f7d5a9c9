import {
  NFS3ERR_ACCES,
  NFS3ERR_BAD_COOKIE,
  NFS3ERR_BADHANDLE,
  NFS3ERR_BADTYPE,
  NFS3ERR_DQUOT,
  NFS3ERR_EXIST,
  NFS3ERR_FBIG,
  NFS3ERR_INVAL,
  NFS3ERR_IO,
  NFS3ERR_ISDIR,
  NFS3ERR_JUKEBOX,
  NFS3ERR_MLINK,
  NFS3ERR_NAMETOOLONG,
  NFS3ERR_NODEV,
  NFS3ERR_NOENT,
  NFS3ERR_NOSPC,
  NFS3ERR_NOT_SYNC,
  NFS3ERR_NOTDIR,
  NFS3ERR_NOTEMPTY,
  NFS3ERR_NOTSUPP,
  NFS3ERR_NXIO,
  NFS3ERR_PERM,
  NFS3ERR_ROFS,
  NFS3ERR_SERVERFAULT,
  NFS3ERR_STALE,
  NFS3ERR_TOOSMALL,
  NFS3ERR_XDEV,
} from './status.ts'

/**
 * Allowed in every reply although RFC 1813 lists them for few or no procedures: ACCES for a client without a rule, JUKEBOX ("try
 * again later", section 2.6), and the faults of the handle and of the server.
 */
const ALWAYS = [NFS3ERR_ACCES, NFS3ERR_JUKEBOX, NFS3ERR_STALE, NFS3ERR_BADHANDLE, NFS3ERR_SERVERFAULT]

const GROWTH = [NFS3ERR_IO, NFS3ERR_NOSPC, NFS3ERR_ROFS, NFS3ERR_DQUOT]
const NEW_NAME = [...GROWTH, NFS3ERR_EXIST, NFS3ERR_NOTDIR, NFS3ERR_NAMETOOLONG, NFS3ERR_NOTSUPP]
const OLD_NAME = [NFS3ERR_NOENT, NFS3ERR_IO, NFS3ERR_NOTDIR, NFS3ERR_NAMETOOLONG, NFS3ERR_ROFS]

/** The statuses that RFC 1813 section 3.3 lists for each procedure, in addition to `ALWAYS`. */
const LISTED = {
  NULL: [],
  GETATTR: [NFS3ERR_IO],
  SETATTR: [...GROWTH, NFS3ERR_PERM, NFS3ERR_INVAL, NFS3ERR_NOT_SYNC, NFS3ERR_NOTSUPP],
  LOOKUP: [NFS3ERR_IO, NFS3ERR_NOENT, NFS3ERR_NOTDIR, NFS3ERR_NAMETOOLONG],
  ACCESS: [NFS3ERR_IO],
  READLINK: [NFS3ERR_IO, NFS3ERR_INVAL, NFS3ERR_NOTSUPP],
  READ: [NFS3ERR_IO, NFS3ERR_NXIO, NFS3ERR_INVAL],
  WRITE: [...GROWTH, NFS3ERR_FBIG, NFS3ERR_INVAL],
  CREATE: NEW_NAME,
  MKDIR: NEW_NAME,
  SYMLINK: NEW_NAME,
  MKNOD: [...NEW_NAME, NFS3ERR_BADTYPE],
  REMOVE: OLD_NAME,
  RMDIR: [...OLD_NAME, NFS3ERR_INVAL, NFS3ERR_EXIST, NFS3ERR_NOTEMPTY, NFS3ERR_NOTSUPP],
  RENAME: [...NEW_NAME, NFS3ERR_NOENT, NFS3ERR_XDEV, NFS3ERR_ISDIR, NFS3ERR_INVAL, NFS3ERR_MLINK, NFS3ERR_NOTEMPTY],
  LINK: [...NEW_NAME, NFS3ERR_XDEV, NFS3ERR_INVAL, NFS3ERR_MLINK],
  READDIR: [NFS3ERR_IO, NFS3ERR_NOTDIR, NFS3ERR_BAD_COOKIE, NFS3ERR_TOOSMALL],
  READDIRPLUS: [NFS3ERR_IO, NFS3ERR_NOTDIR, NFS3ERR_BAD_COOKIE, NFS3ERR_TOOSMALL, NFS3ERR_NOTSUPP],
  FSSTAT: [NFS3ERR_IO],
  FSINFO: [],
  PATHCONF: [],
  COMMIT: [NFS3ERR_IO],
} as const satisfies Record<string, readonly number[]>

/** The name of a procedure, as in RFC 1813 without `NFSPROC3_`. */
export type ProcedureName = keyof typeof LISTED

/** Replacements for a status that the procedure does not list: the first listed one is used. */
const INSTEAD: Readonly<Record<number, readonly number[]>> = {
  [NFS3ERR_PERM]: [NFS3ERR_ACCES],
  [NFS3ERR_ISDIR]: [NFS3ERR_INVAL, NFS3ERR_EXIST, NFS3ERR_ACCES],
  [NFS3ERR_INVAL]: [NFS3ERR_ACCES],
  [NFS3ERR_NOTDIR]: [NFS3ERR_INVAL, NFS3ERR_ACCES],
  [NFS3ERR_NOENT]: [NFS3ERR_STALE],
  [NFS3ERR_FBIG]: [NFS3ERR_INVAL, NFS3ERR_IO],
  [NFS3ERR_MLINK]: [NFS3ERR_NOSPC, NFS3ERR_IO],
  [NFS3ERR_NXIO]: [NFS3ERR_IO],
  [NFS3ERR_NODEV]: [NFS3ERR_NOTSUPP, NFS3ERR_IO],
}

const ALLOWED: Readonly<Record<string, ReadonlySet<number>>> = Object.fromEntries(
  Object.entries(LISTED).map(([name, listed]) => [name, new Set<number>([...listed, ...ALWAYS])]),
)

/** The statuses (besides NFS3_OK) that a procedure may return. */
export function allowedStatuses(procedure: ProcedureName): ReadonlySet<number> {
  return ALLOWED[procedure]
}

/** `status`, or the closest one that the procedure lists; NFS3ERR_SERVERFAULT if there is none. */
export function listedStatus(procedure: ProcedureName, status: number): number {
  const allowed = ALLOWED[procedure]
  if (allowed.has(status)) return status
  return INSTEAD[status]?.find((candidate) => allowed.has(candidate)) ?? NFS3ERR_SERVERFAULT
}
