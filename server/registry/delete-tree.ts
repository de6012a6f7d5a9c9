import { chmod, opendir, rename, rmdir, unlink } from 'node:fs/promises'

/** The number of names that are removed at the same time. */
const AT_ONCE = 16
/** The number of subdirectories of a directory whose names are kept. */
const MOST_NAMES = 10_000
/** Longer paths are moved up first. The kernel accepts 4095 bytes. */
const PATH_BYTES = 3500

/**
 * Deletes a directory with everything in it (or a file), in bounded memory, however large and deep it is. `stopped` ends it early. Returns whether it is gone.
 * Nobody else may change it meanwhile.
 *
 * @throws EIO | EROFS …
 */
export async function deleteTree(path: string, stopped: () => boolean = () => false): Promise<boolean> {
  const root = Buffer.from(path)
  try {
    const done = await new Deletion(root, stopped).clear(root)
    if (done) await rmdir(root)
    return done
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true
    if (codeOf(error) !== 'ENOTDIR') throw error
    await unlink(root)
    return true
  }
}

class Deletion {
  readonly #root: Buffer
  readonly #stopped: () => boolean
  #moved = 0

  constructor(root: Buffer, stopped: () => boolean) {
    this.#root = root
    this.#stopped = stopped
  }

  /** Empties a directory. Returns false if it was stopped. */
  async clear(path: Buffer): Promise<boolean> {
    for (;;) {
      const inside = await this.#removeFiles(path)
      if (this.#stopped()) return false
      if (inside.length === 0) return true
      for (const name of inside) if (!(await this.#removeDirectory(join(path, name)))) return false
    }
  }

  async #removeDirectory(path: Buffer): Promise<boolean> {
    if (path.length > PATH_BYTES) {
      // It is found again in the root, with a short path.
      await this.#moveUp(path)
      return true
    }
    if (!(await this.clear(path))) return false
    await rmdir(path)
    return true
  }

  async #moveUp(path: Buffer): Promise<void> {
    for (;;) {
      try {
        return await rename(path, join(this.#root, Buffer.from(`deep-${this.#moved++}`)))
      } catch (error) {
        // A directory of an earlier attempt, or a file, has this name.
        if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(codeOf(error) ?? '')) throw error
      }
    }
  }

  /** Removes everything but directories. Returns the names of some of those; none if there are none. */
  async #removeFiles(path: Buffer): Promise<Buffer[]> {
    const inside: Buffer[] = []
    let removing: Promise<void>[] = []
    const directory = await openAnyway(path)
    try {
      // The types of Node do not know that entries are buffers here.
      for (;;) {
        const entry = await directory.read()
        if (entry === null || this.#stopped()) break
        const name = entry.name as unknown as Buffer
        if (entry.isDirectory()) {
          if (inside.length < MOST_NAMES) inside.push(name)
        } else removing.push(removeFile(path, name, inside))
        if (removing.length < AT_ONCE) continue
        await Promise.all(removing)
        removing = []
      }
    } finally {
      await Promise.all(removing)
      await directory.close()
    }
    return inside
  }
}

/** On file systems that do not tell types, a directory shows only now. */
async function removeFile(directory: Buffer, name: Buffer, directories: Buffer[]): Promise<void> {
  try {
    await unlink(join(directory, name))
  } catch (error) {
    if (codeOf(error) === 'EISDIR') directories.push(name)
    else throw error
  }
}

/** Opens a directory even if its mode keeps its owner out, which clients can set. */
async function openAnyway(path: Buffer) {
  const how = { encoding: 'buffer' as BufferEncoding, bufferSize: 256 }
  try {
    return await opendir(path, how)
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw error
    await chmod(path, 0o700)
    return await opendir(path, how)
  }
}

function join(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, SLASH, name])
}

const SLASH = Buffer.from('/')

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
