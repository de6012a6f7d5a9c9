import { allowCallsOnLoop, forbidCallsOnLoop } from './call.ts'
import { statfsFd } from './stat.ts'

/** Magic numbers (statfs(2)) of file systems that look up a cached name without asking another process or machine. */
const LOCAL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x2fc12fc1, // zfs
  0xf2f52010, // f2fs
  0xca451a4e, // bcachefs
  0x794c7630, // overlay
  0x73717368, // squashfs
  0xe0f5e1e2, // erofs
  0x9660, // iso9660
])

/** Whether a file system, given by its magic number, answers by itself. Others (network, FUSE) may ask somebody who never answers. */
export function isLocal(fileSystemType: number): boolean {
  return LOCAL_FILE_SYSTEMS.has(fileSystemType)
}

/** Checks the file system of an opened root. Unless it is local, system calls stay off the event loop for good. */
export async function lookAtRoot(fd: number): Promise<void> {
  // Forbidden until the file system is known.
  forbidCallsOnLoop()
  const { type } = await statfsFd(fd)
  if (isLocal(type)) allowCallsOnLoop()
}
