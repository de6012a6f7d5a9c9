/** RFC 8881, RFC 7862, RFC 7530. */
export const NFS4_PROGRAM = 100003
export const NFS_V4 = 4
/** The latest minor version. */
export const LAST_MINOR = 2

/** Maximum and preferred size of READ and WRITE. */
export const MAX_TRANSFER_BYTES = 1024 * 1024
/** The most data that READ gives while memory for replies is short; the client requests the rest. */
export const SHORT_READ_BYTES = 32 * 1024
/** The largest reply: data and what is beside it. */
export const MAX_REPLY_BYTES = MAX_TRANSFER_BYTES + 2048
/** The largest reply of READDIR. */
export const MAX_DIRECTORY_BYTES = 64 * 1024
/** Maximum length of a name. */
export const NAME_MAX = 255
/** Longest opaque that names a client or an owner (`NFS4_OPAQUE_LIMIT`). */
export const OPAQUE_LIMIT = 1024
export const SESSION_ID_BYTES = 16
export const VERIFIER_BYTES = 8
/** How long a client may be silent before it loses what others want, in seconds. */
export const LEASE_SECONDS = 90

/** `nfs_ftype4`. */
export const NF4REG = 1
export const NF4DIR = 2
export const NF4BLK = 3
export const NF4CHR = 4
export const NF4LNK = 5
export const NF4SOCK = 6
export const NF4FIFO = 7

/** Bits of `share_access` and `share_deny` of OPEN. */
export const SHARE_READ = 1
export const SHARE_WRITE = 2
export const SHARE_BOTH = 3

/** `nfs_opnum4`. */
export const OP = {
  ACCESS: 3,
  CLOSE: 4,
  COMMIT: 5,
  CREATE: 6,
  DELEGPURGE: 7,
  DELEGRETURN: 8,
  GETATTR: 9,
  GETFH: 10,
  LINK: 11,
  LOCK: 12,
  LOCKT: 13,
  LOCKU: 14,
  LOOKUP: 15,
  LOOKUPP: 16,
  NVERIFY: 17,
  OPEN: 18,
  OPENATTR: 19,
  OPEN_CONFIRM: 20,
  OPEN_DOWNGRADE: 21,
  PUTFH: 22,
  PUTPUBFH: 23,
  PUTROOTFH: 24,
  READ: 25,
  READDIR: 26,
  READLINK: 27,
  REMOVE: 28,
  RENAME: 29,
  RENEW: 30,
  RESTOREFH: 31,
  SAVEFH: 32,
  SECINFO: 33,
  SETATTR: 34,
  SETCLIENTID: 35,
  SETCLIENTID_CONFIRM: 36,
  VERIFY: 37,
  WRITE: 38,
  RELEASE_LOCKOWNER: 39,
  BACKCHANNEL_CTL: 40,
  BIND_CONN_TO_SESSION: 41,
  EXCHANGE_ID: 42,
  CREATE_SESSION: 43,
  DESTROY_SESSION: 44,
  FREE_STATEID: 45,
  GET_DIR_DELEGATION: 46,
  GETDEVICEINFO: 47,
  GETDEVICELIST: 48,
  LAYOUTCOMMIT: 49,
  LAYOUTGET: 50,
  LAYOUTRETURN: 51,
  SECINFO_NO_NAME: 52,
  SEQUENCE: 53,
  SET_SSV: 54,
  TEST_STATEID: 55,
  WANT_DELEGATION: 56,
  DESTROY_CLIENTID: 57,
  RECLAIM_COMPLETE: 58,
  ALLOCATE: 59,
  COPY: 60,
  COPY_NOTIFY: 61,
  DEALLOCATE: 62,
  IO_ADVISE: 63,
  LAYOUTERROR: 64,
  LAYOUTSTATS: 65,
  OFFLOAD_CANCEL: 66,
  OFFLOAD_STATUS: 67,
  READ_PLUS: 68,
  SEEK: 69,
  WRITE_SAME: 70,
  CLONE: 71,
  GETXATTR: 72,
  SETXATTR: 73,
  LISTXATTRS: 74,
  REMOVEXATTR: 75,
  ILLEGAL: 10044,
} as const

/** The name of an operation. */
export type OperationName = keyof typeof OP

/** The first operation of each minor version, and the last one of 4.2. */
export const FIRST_OF_MINOR = [OP.ACCESS, OP.BACKCHANNEL_CTL, OP.ALLOCATE] as const
export const LAST_OPERATION = OP.REMOVEXATTR
