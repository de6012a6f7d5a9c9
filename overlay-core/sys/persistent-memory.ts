import { basename, dirname } from 'node:path'
import { isErrno, OverlayError } from '../api/errno.ts'
import { fallocate, truncateFd } from './attr.ts'
import { pread, pwriteNow } from './data.ts'
import { O_CREAT, O_NOFOLLOW, O_RDWR } from './flags.ts'
import { mapShared } from './memory-map.ts'
import { closeLater, closeSync, openAt, openRoot } from './open.ts'
import { statfsFd, statxFd } from './stat.ts'

/**
 * The file systems on which files are mapped: they overwrite blocks in place, so a store into memory with allocated blocks cannot fail. Elsewhere
 * (btrfs, network file systems) a failure would be a signal that kills the process.
 */
const MAPPED_TYPES = new Set([0xef53 /* ext4 */, 0x5846_5342 /* xfs */, 0x0102_1994 /* tmpfs */])

/** Memory that is also the content of a file: stores survive the death of the process, but are not durable. */
export interface PersistentMemory {
  readonly bytes: Uint8Array
  /** Must be called after each change, with its position. Does nothing if the file is mapped. @throws ENOSPC | EIO the change was not stored */
  changed(offset: number, length: number): void
  /** Stops storing changes; the memory stays usable. */
  close(): void
}

/**
 * Opens or creates a file of `sizeBytes` zeros at `path`, mode 0600, as memory. Nobody else may use the file meanwhile. `mapped` tells whether it may be
 * mapped; the default is to map where that is safe.
 *
 * @throws EINVAL the existing file has another size · ELOOP a symlink · ENOENT no such directory · ENOSPC …
 */
export async function openPersistentMemory(
  path: string,
  sizeBytes: number,
  mapped?: boolean,
): Promise<PersistentMemory> {
  const fd = await openSized(path, sizeBytes)
  try {
    const allocated = await allocate(fd, sizeBytes)
    if (mapped ?? (allocated && MAPPED_TYPES.has((await statfsFd(fd)).type))) {
      const bytes = mapShared(fd, sizeBytes)
      // The mapping keeps the file open.
      closeSync(fd)
      return { bytes, changed: () => undefined, close: () => undefined }
    }
    return await openWritten(fd, sizeBytes)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

async function openSized(path: string, sizeBytes: number): Promise<number> {
  const dirFd = await openRoot(dirname(path))
  try {
    const fd = await openAt(dirFd, basename(path), O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
    const { size } = statxFd(fd)
    if (size === 0 || size === sizeBytes) return fd
    closeSync(fd)
    throw new OverlayError('EINVAL', 'open', basename(path))
  } finally {
    closeSync(dirFd)
  }
}

/** Memory of the process that writes each change to the file immediately. */
async function openWritten(fd: number, sizeBytes: number): Promise<PersistentMemory> {
  const bytes = new Uint8Array(sizeBytes)
  for (let at = 0; at < sizeBytes; ) {
    const read = await pread(fd, bytes, at, sizeBytes - at, at)
    if (read === 0) break
    at += read
  }
  let open = true
  return {
    bytes,
    changed(offset, length) {
      if (open) pwriteNow(fd, bytes.subarray(offset, offset + length), offset)
    },
    close() {
      if (open) closeLater(fd)
      open = false
    },
  }
}

/** Sets the size of the file and allocates its blocks; returns false if the file system cannot allocate. */
async function allocate(fd: number, sizeBytes: number): Promise<boolean> {
  try {
    await fallocate(fd, 0, 0, sizeBytes)
    return true
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP', 'EINVAL', 'ENOSYS')) throw error
    // A full disk is then noticed at a later write.
    await truncateFd(fd, sizeBytes)
    return false
  }
}
