import type { StatFs } from '../api/types.ts'
import type { Quota } from '../base/quota.ts'
import { statfsFd } from '../sys/stat.ts'

/** The size and the free space of the file system of the directory `fd`; with a quota, of what the quota allows. */
export async function statfsOf(fd: number, quota: Quota | undefined): Promise<StatFs> {
  const stat = await statfsFd(fd)
  const disk = {
    totalBytes: stat.blocks * stat.blockSize,
    freeBytes: stat.blocksFree * stat.blockSize,
    availableBytes: stat.blocksAvailable * stat.blockSize,
    totalFiles: stat.files,
    freeFiles: stat.filesFree,
    nameMax: stat.nameMax,
    blockSize: stat.blockSize,
  }
  return quota ? within(disk, quota) : disk
}

/**
 * The total is the limit, unless the disk or a quota for several overlays leaves less: then it is what is used and free, so that the difference is the usage in
 * any case.
 */
function within(disk: StatFs, { state, room }: Quota): StatFs {
  const result = { ...disk }
  if (Number.isFinite(room.bytes)) {
    result.freeBytes = result.availableBytes = Math.min(disk.availableBytes, room.bytes)
    result.totalBytes = state.bytes + result.freeBytes
  }
  if (Number.isFinite(room.files)) {
    result.freeFiles = Math.min(disk.freeFiles, room.files)
    result.totalFiles = state.files + result.freeFiles
  }
  return result
}
