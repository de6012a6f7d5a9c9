import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../nfs/processes.ts'

/** Bytes a second, both ways: a block of 4 KiB takes 20 ms. */
const RATE = '200k'
const MIB = 256

/** A disk that is slow: an ext4 in an image that is reached through a file system in user space which lets little through. */
export interface SlowDisk {
  /** Where it is mounted. */
  readonly path: string
  unmount(): Promise<void>
}

/** Makes the image below `dir` and lets `fill` put something on it while it is fast. */
export async function makeImage(dir: string, fill: (path: string) => void): Promise<void> {
  const [source, path] = [join(dir, 'source'), join(dir, 'disk')]
  for (const directory of [source, path, join(dir, 'slow')]) mkdirSync(directory)
  const image = join(source, 'image')
  writeFileSync(image, '')
  await run('truncate', ['-s', `${MIB}M`, image])
  await run('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image])
  await run('mount', ['-o', 'loop', image, path])
  try {
    fill(path)
  } finally {
    await run('umount', [path])
  }
}

/** Mounts what `makeImage` made, with nothing of it in any cache. */
export async function mountSlowly(dir: string): Promise<SlowDisk> {
  const [source, slow, path] = [join(dir, 'source'), join(dir, 'slow'), join(dir, 'disk')]
  await run('bindfs', [`--read-rate=${RATE}`, `--write-rate=${RATE}`, source, slow])
  try {
    await run('mount', ['-o', 'loop,noatime', join(slow, 'image'), path])
  } catch (error) {
    await run('umount', ['-l', slow])
    throw error
  }
  const unmount = async (): Promise<void> => {
    await run('umount', [path])
    await run('umount', [slow])
  }
  return { path, unmount }
}
