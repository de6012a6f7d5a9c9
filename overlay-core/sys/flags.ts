/** Constants of the Linux system call interface (asm-generic, with the exceptions of x86_64 and arm64). */

const arm64 = process.arch === 'arm64'

/** open(2) flags. */
export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_NOCTTY = 0o400
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
export const O_NONBLOCK = 0o4000
export const O_NOATIME = 0o1000000
export const O_CLOEXEC = 0o2000000
export const O_PATH = 0o10000000
/** arm64 assigns the bits of O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE differently (arch/arm64/include/uapi/asm/fcntl.h). */
export const O_DIRECTORY = arm64 ? 0o40000 : 0o200000
export const O_NOFOLLOW = arm64 ? 0o100000 : 0o400000
/** With O_WRONLY or O_RDWR: creates a nameless file in the directory. */
export const O_TMPFILE = 0o20000000 | O_DIRECTORY

/** renameat2(2) flags. */
export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const RENAME_WHITEOUT = 4

/** File type bits of `st_mode`. */
export const S_IFMT = 0o170000
export const S_IFIFO = 0o010000
export const S_IFCHR = 0o020000
export const S_IFDIR = 0o040000
export const S_IFBLK = 0o060000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
export const S_IFSOCK = 0o140000

/** setxattr(2) flags. */
export const XATTR_CREATE = 1
export const XATTR_REPLACE = 2

/** fallocate(2) modes. */
export const FALLOC_FL_KEEP_SIZE = 1
export const FALLOC_FL_PUNCH_HOLE = 2

/** Flags of the *at calls. */
export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
export const AT_REMOVEDIR = 0x200
export const AT_SYMLINK_FOLLOW = 0x400
export const AT_EMPTY_PATH = 0x1000
