import type { StatFs } from '../api/types.ts'
import { statfsFd } from '../sys/stat.ts'

/** The size and the free space of the file system of the directory `fd`. */
export async function statfsOf(fd: number): Promise<StatFs> {
  const stat = await statfsFd(fd)
  return {
    totalBytes: stat.blocks * stat.blockSize,
    freeBytes: stat.blocksFree * stat.blockSize,
    availableBytes: stat.blocksAvailable * stat.blockSize,
    totalFiles: stat.files,
    freeFiles: stat.filesFree,
    nameMax: stat.nameMax,
    blockSize: stat.blockSize,
  }
}
