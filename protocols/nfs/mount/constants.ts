/** RFC 1813 appendix I. */
export const MOUNT_PROGRAM = 100005
export const MOUNT_V3 = 3
/** Longest path of MNT and UMNT. */
export const MNTPATHLEN = 1024

/** `mountstat3`. */
export const MNT3_OK = 0
export const MNT3ERR_NOENT = 2
export const MNT3ERR_IO = 5
export const MNT3ERR_ACCES = 13
export const MNT3ERR_NOTDIR = 20
export const MNT3ERR_INVAL = 22
export const MNT3ERR_NAMETOOLONG = 63
export const MNT3ERR_SERVERFAULT = 10006
