import { bind, tryCall } from './call.ts'
import { sysError } from './error.ts'
import { closeSync, openDirectory, openRoot } from './open.ts'

const SYS_QUOTACTL_FD = 443
/** `_IOR('X', 31, struct fsxattr)` and `_IOW('X', 32, struct fsxattr)`. */
const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820
/** struct fsxattr: 32-bit words (flags, extent size, extents, project id, extent size of copies), then 8 bytes. */
const SIZE_OF_FSXATTR = 28
const AT_FLAGS = 0
const AT_PROJECT = 12
/** New objects in the directory get its project id; nothing with another one can be moved into it. */
const FS_XFLAG_PROJINHERIT = 0x200
const PRJQUOTA = 2
const Q_GETQUOTA = 0x800007
const Q_SETQUOTA = 0x800008
const Q_XGETQSTATV = 0x5808
/** struct if_dqblk: eight 64-bit words, then 32 bits that say which of them count. Limits of space are in units of 1,024 bytes. */
const SIZE_OF_DQBLK = 72
const [HARD_BLOCKS, SOFT_BLOCKS, BYTES, HARD_FILES, SOFT_FILES, FILES] = [0, 8, 16, 24, 32, 40]
const AT_VALID = 64
const QIF_LIMITS = 0b101
const BLOCK = 1024
/** struct fs_quota_statv: the version, and flags that say what the file system counts and limits. */
const SIZE_OF_STATV = 256
const FS_QSTATV_VERSION1 = 1
const FS_QUOTA_PDQ_ENFD = 1 << 5
const ENOENT = 2

const ioctl = bind<[fd: number, request: number, memory: Uint8Array]>('int ioctl(int, uint64_t, void *)', false)
const quotactlFd = bind<[number: number, fd: number, command: number, id: number, memory: Uint8Array]>(
  'int64_t syscall(int64_t, int, uint32_t, uint32_t, void *)',
  false,
)

/** The project of a directory. */
export interface Project {
  /** 0: none. */
  readonly id: number
  /** Whether new objects in the directory belong to it. */
  readonly inherited: boolean
}

/** The limits of a project, in bytes and objects. A missing one does not limit. */
export interface ProjectLimits {
  readonly hardBytes?: number | undefined
  readonly softBytes?: number | undefined
  readonly hardFiles?: number | undefined
  readonly softFiles?: number | undefined
}

/** What a project uses, in bytes on the disk and objects, and its hard limits; `Infinity` without one. */
export interface ProjectUsage {
  readonly bytes: number
  readonly files: number
  readonly hardBytes: number
  readonly hardFiles: number
}

/** Whether the file system of the directory at `path` limits projects: Linux 5.14, and a file system that is mounted with their limits. */
export async function limitsProjects(path: string): Promise<boolean> {
  return await within(path, async (fd) => {
    const memory = Buffer.alloc(SIZE_OF_STATV)
    memory[0] = FS_QSTATV_VERSION1
    if ((await control(fd, Q_XGETQSTATV, 0, memory)) < 0) return false
    return (memory.readUInt16LE(2) & FS_QUOTA_PDQ_ENFD) !== 0
  })
}

/** The project of the directory at `path`. @throws ENOENT … · EOPNOTSUPP the file system has no projects */
export async function projectOf(path: string): Promise<Project> {
  return await within(path, async (fd) => {
    const memory = await attributesOf(fd)
    return {
      id: memory.readUInt32LE(AT_PROJECT),
      inherited: (memory.readUInt32LE(AT_FLAGS) & FS_XFLAG_PROJINHERIT) !== 0,
    }
  })
}

/** Puts an empty directory and everything that will be created in it into a project. @throws EPERM the process lacks CAP_SYS_ADMIN · EOPNOTSUPP */
export async function setProject(path: string, id: number): Promise<void> {
  await within(path, async (fd) => {
    const memory = await attributesOf(fd)
    memory.writeUInt32LE((memory.readUInt32LE(AT_FLAGS) | FS_XFLAG_PROJINHERIT) >>> 0, AT_FLAGS)
    memory.writeUInt32LE(id, AT_PROJECT)
    const result = await tryCall('ioctl', ioctl, fd, FS_IOC_FSSETXATTR, memory)
    if (result < 0) throw sysError('ioctl', -result)
  })
}

/** What the project `id` of the file system at `path` uses. @throws EPERM … */
export async function projectUsage(path: string, id: number): Promise<ProjectUsage> {
  const memory = Buffer.alloc(SIZE_OF_DQBLK)
  const result = await within(path, (fd) => control(fd, Q_GETQUOTA, id, memory))
  // xfs knows only projects that have something.
  if (result < 0 && result !== -ENOENT) throw sysError('quotactl', -result)
  const read = (at: number) => Number(memory.readBigUInt64LE(at))
  return {
    bytes: read(BYTES),
    files: read(FILES),
    hardBytes: read(HARD_BLOCKS) * BLOCK || Number.POSITIVE_INFINITY,
    hardFiles: read(HARD_FILES) || Number.POSITIVE_INFINITY,
  }
}

/** Replaces the limits of a project; a missing one does not limit. Space is limited in whole KiB. @throws EPERM · ESRCH no project quotas */
export async function limitProject(path: string, id: number, limits: ProjectLimits): Promise<void> {
  const memory = Buffer.alloc(SIZE_OF_DQBLK)
  const write = (at: number, value: number) => memory.writeBigUInt64LE(BigInt(value), at)
  write(HARD_BLOCKS, blocksOf(limits.hardBytes))
  write(SOFT_BLOCKS, blocksOf(limits.softBytes))
  write(HARD_FILES, limits.hardFiles ?? 0)
  write(SOFT_FILES, limits.softFiles ?? 0)
  memory.writeUInt32LE(QIF_LIMITS, AT_VALID)
  const result = await within(path, (fd) => control(fd, Q_SETQUOTA, id, memory))
  if (result < 0) throw sysError('quotactl', -result)
}

/** 0 would be no limit. */
function blocksOf(bytes: number | undefined): number {
  return bytes === undefined ? 0 : Math.max(1, Math.floor(bytes / BLOCK))
}

async function control(fd: number, command: number, id: number, memory: Uint8Array): Promise<number> {
  return await tryCall('quotactl', quotactlFd, SYS_QUOTACTL_FD, fd, command * 0x100 + PRJQUOTA, id, memory)
}

async function attributesOf(fd: number): Promise<Buffer> {
  const memory = Buffer.alloc(SIZE_OF_FSXATTR)
  const result = await tryCall('ioctl', ioctl, fd, FS_IOC_FSGETXATTR, memory)
  if (result < 0) throw sysError('ioctl', -result)
  return memory
}

/** Runs `work` with the directory at `path` open for reading. */
async function within<T>(path: string, work: (fd: number) => Promise<T>): Promise<T> {
  const root = await openRoot(path)
  try {
    const fd = await openDirectory(root)
    try {
      return await work(fd)
    } finally {
      closeSync(fd)
    }
  } finally {
    closeSync(root)
  }
}
