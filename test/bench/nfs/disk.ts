import { rm, truncate, writeFile } from 'node:fs/promises'
import { run } from './processes.ts'

/** Sparse: what is not written takes no room. */
const BYTES = 8 * 1024 ** 3

/**
 * Mounts a new ext4 with a journal on `folder`, from an image beside it, so that no past of the machine's own file system counts: an ext4 without a
 * journal, for example, searches thousands of inodes for each new file after many were removed. Needs root and a mount namespace that ends.
 */
export async function mountDisk(folder: string): Promise<void> {
  const image = `${folder}.img`
  await writeFile(image, '')
  try {
    await truncate(image, BYTES)
    await run('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image])
    // Direct: else everything would be in memory twice, and what is synced be copied once more.
    const device = (await run('losetup', ['--find', '--show', '--direct-io=on', image])).trim()
    try {
      await run('mount', ['-o', 'noatime', device, folder])
    } finally {
      // Ends with the mount.
      await run('losetup', ['--detach', device])
    }
  } finally {
    await rm(image)
  }
}

/** Undoes `mountDisk`. */
export async function unmountDisk(folder: string): Promise<void> {
  await run('umount', [folder])
}
