import { open, rename, rm } from 'node:fs/promises'

let asideCount = 0

/** A temporary path, different in every process and at every call, for a file that is built before it gets its name. */
export function asideName(path: string): string {
  return `${path}.${process.pid}.${asideCount++}~`
}

/** Writes a file with `mode`, replaces an existing one, and makes it durable. A failure leaves none. */
export async function writeWhole(path: string, data: Uint8Array | string, mode: number): Promise<void> {
  await rm(path, { force: true })
  const file = await open(path, 'wx', mode)
  try {
    await file.writeFile(data)
    await file.sync()
  } catch (error) {
    await rm(path, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

/** Writes `data` to `path` atomically: a reader sees the old file or the complete new one. */
export async function replaceFile(path: string, data: string, mode: number): Promise<void> {
  const aside = asideName(path)
  await writeWhole(aside, data, mode)
  await rename(aside, path)
}

/** Makes a file, or the names in a directory, durable. */
export async function sync(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
