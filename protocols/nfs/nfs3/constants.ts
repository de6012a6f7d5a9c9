/** RFC 1813. */
export const NFS_PROGRAM = 100003
export const NFS_V3 = 3

/** `ftype3` (section 2.6). */
export const NF3REG = 1
export const NF3DIR = 2
export const NF3BLK = 3
export const NF3CHR = 4
export const NF3LNK = 5
export const NF3SOCK = 6
export const NF3FIFO = 7

/** Most bytes of one READ or WRITE, and what clients are told to use. */
export const MAX_TRANSFER_BYTES = 1024 * 1024
/** What clients are told to use for READDIR, and the most that one answer holds. */
export const MAX_DIRECTORY_BYTES = 64 * 1024
/** Longest name; longer ones are refused without a look at the file system. */
export const NAME_MAX = 255

/** Encoded sizes of optional attributes that are there, in bytes. */
export const POST_OP_ATTR_BYTES = 88
export const WCC_DATA_BYTES = 28 + POST_OP_ATTR_BYTES
