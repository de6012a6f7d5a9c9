import { bind, tryCall } from './call.ts'
import { closeSync, openDirectory } from './open.ts'

/** `_IOR(0x15, 0, struct fsuuid2)`: one byte length, 16 bytes UUID; since Linux 6.9 for every file system. */
const FS_IOC_GETFSUUID = 0x80111500
/** `_IOR('f', 44, struct fsuuid)`: two 32-bit words (length, flags), then the UUID; ext4 since Linux 6.0. */
const EXT4_IOC_GETFSUUID = 0x8008662c
/** `_IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)`: two 64-bit words, then the UUID; 1,024 bytes in all. */
const BTRFS_IOC_FS_INFO = 0x8400941f
const BTRFS_INFO_BYTES = 1024
const UUID_BYTES = 16

const ioctl = bind<[fd: number, request: number, out: Uint8Array]>('int ioctl(int, uint64_t, void *)')

/** The UUID of the file system of directory `dirFd` (the kernel's `s_uuid`); zeros if it has none or does not tell. */
export async function fileSystemUuid(dirFd: number): Promise<Uint8Array> {
  const fd = await openDirectory(dirFd)
  try {
    const general = Buffer.alloc(1 + UUID_BYTES)
    if ((await tryCall('ioctl', ioctl, fd, FS_IOC_GETFSUUID, general)) >= 0) return new Uint8Array(general.subarray(1))
    const ext4 = Buffer.alloc(8 + UUID_BYTES)
    ext4.writeUInt32LE(UUID_BYTES, 0)
    if ((await tryCall('ioctl', ioctl, fd, EXT4_IOC_GETFSUUID, ext4)) >= 0) return new Uint8Array(ext4.subarray(8))
    const btrfs = Buffer.alloc(BTRFS_INFO_BYTES)
    if ((await tryCall('ioctl', ioctl, fd, BTRFS_IOC_FS_INFO, btrfs)) >= 0)
      return new Uint8Array(btrfs.subarray(16, 16 + UUID_BYTES))
    return new Uint8Array(UUID_BYTES)
  } finally {
    closeSync(fd)
  }
}
