import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Creates a directory, mode 0700, and its missing parents; returns the topmost one that it created, if any. The recursive mkdir of Node fails with ENOENT
 * on a read-only disk, which hides the reason.
 */
export async function makeDirectory(path: string): Promise<string | undefined> {
  try {
    await mkdir(path, { mode: 0o700 })
    return path
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return undefined
    if (code !== 'ENOENT' || dirname(path) === path) throw error
  }
  const above = await makeDirectory(dirname(path))
  const made = await makeDirectory(path)
  return above ?? made
}

/** Whether something exists at `path`. @throws an error other than ENOENT */
export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
