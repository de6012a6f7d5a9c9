import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import * as native from '../../differential/native.ts'

const BYTES = 8 * 1024 ** 3
const MAKERS = {
  ext4: ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0'],
  xfs: ['mkfs.xfs', '-q', '-m', 'reflink=1'],
} as const

/**
 * Mounts a new file system on the new directory `at`, from an image beside it, so that no past of the machine's own counts. Needs root and a mount
 * namespace that ends. Returns what undoes it.
 *
 * @throws Error without the program that makes such file systems
 */
export function mountDisk(kind: keyof typeof MAKERS, at: string): () => void {
  const image = `${at}.img`
  mkdirSync(at)
  writeFileSync(image, '')
  try {
    truncateSync(image, BYTES)
    const [maker, ...args] = MAKERS[kind]
    execFileSync(maker, [...args, image])
    // Direct: else everything would be in memory twice, and what is synced be copied once more.
    const device = execFileSync('losetup', ['--find', '--show', '--direct-io=on', image], { encoding: 'utf8' }).trim()
    try {
      execFileSync('mount', ['-o', 'noatime', device, at])
    } finally {
      // Ends with the mount.
      execFileSync('losetup', ['--detach', device])
    }
  } finally {
    // As long as it is mounted it stays.
    rmSync(image)
  }
  return () => native.umount(at)
}
