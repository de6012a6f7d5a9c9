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

/** Maximum and preferred size of READ and WRITE. */
export const MAX_TRANSFER_BYTES = 1024 * 1024
/** Preferred size of READDIR, and maximum size of its reply. */
export const MAX_DIRECTORY_BYTES = 64 * 1024
/** Maximum length of a name; longer ones are refused without a file system access. */
export const NAME_MAX = 255

/** Encoded sizes of present optional attributes, in bytes. */
export const POST_OP_ATTR_BYTES = 88
export const WCC_DATA_BYTES = 28 + POST_OP_ATTR_BYTES
