import { isErrno } from '../api/errno.ts'
import { claimDir } from '../sys/claim.ts'
import { fsync, pread, pwrite } from '../sys/data.ts'
import { renameAt, unlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { closeSync, openAt, openRoot, reopen, tmpFile } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

const NAME = 'handles'
const NEW_NAME = 'handles.new'
const COPY_BYTES = 256 * 1024

/** The names of the log in its directory. */
export const HANDLE_FILE_NAMES: readonly string[] = [NAME, NEW_NAME]

/** The file of a handle log: in the workdir, in a directory that the server names, or nameless and as short-lived as the process. */
export class HandleFile {
  readonly #dirFd: number | undefined
  /** Where a log lies that this one goes on from, without a place of its own. */
  #keptIn: number | undefined
  #fd: number
  #freshFd = -1
  #open = true
  /** Where nameless files are made. */
  readonly #directory: string

  /** The descriptor that claims the directory, closed with the log. */
  #claimFd = -1

  private constructor(dirFd: number | undefined, fd: number, directory = '') {
    this.#dirFd = dirFd
    this.#fd = fd
    this.#directory = directory
  }

  /** Opens or makes the log in the directory `dirFd`, which stays open and the caller's. */
  static async in(dirFd: number): Promise<HandleFile> {
    await removeIfThere(dirFd, NEW_NAME)
    return new HandleFile(dirFd, await openAt(dirFd, NAME, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600))
  }

  /**
   * As `in`, where nothing can be written: what the log says is read, what is noted from now on ends with the process.
   */
  static async copyOf(dirFd: number, directories: readonly string[]): Promise<HandleFile> {
    const file = await HandleFile.nameless(directories)
    file.#keptIn = dirFd
    try {
      await copyLog(dirFd, file.fd)
      return file
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** As `in`, for a directory by its path, which is claimed: undefined when another process has its log there now. */
  static async claim(directory: string): Promise<HandleFile | undefined> {
    const dirFd = await openRoot(directory)
    try {
      const claimFd = await claimDir(dirFd)
      if (claimFd === undefined) return undefined
      try {
        const file = await HandleFile.in(claimFd)
        file.#claimFd = claimFd
        return file
      } catch (error) {
        closeSync(claimFd)
        throw error
      }
    } finally {
      closeSync(dirFd)
    }
  }

  /** A log without a name, on the file system of the first of `directories` that takes one. */
  static async nameless(directories: readonly string[]): Promise<HandleFile> {
    const [directory = '', ...others] = directories
    try {
      return new HandleFile(undefined, await namelessFile(directory), directory)
    } catch (error) {
      if (others.length === 0 || !isErrno(error)) throw error
      return await HandleFile.nameless(others)
    }
  }

  get fd(): number {
    return this.#fd
  }

  /** The directory that it lies in, for what else must survive a restart; undefined for a nameless log. */
  get directoryFd(): number | undefined {
    return this.#dirFd ?? this.#keptIn
  }

  get sizeBytes(): number {
    return statxFd(this.#fd).size
  }

  /** Starts the file that is to replace this one, and returns its descriptor. */
  async begin(): Promise<number> {
    if (this.#freshFd >= 0) closeSync(this.#freshFd)
    this.#freshFd = -1
    if (this.#dirFd === undefined) {
      this.#freshFd = await namelessFile(this.#directory)
      return this.#freshFd
    }
    await removeIfThere(this.#dirFd, NEW_NAME)
    this.#freshFd = await openAt(this.#dirFd, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    return this.#freshFd
  }

  /** Gives up the file that was begun, which nobody uses any more, if it has not taken the old one's place. */
  abandon(): void {
    if (this.#freshFd >= 0) closeSync(this.#freshFd)
    this.#freshFd = -1
  }

  /**
   * Puts the new file, whose content is durable, in the place of the old one, which nobody uses any more, and closes that. After an error it may be
   * called again.
   */
  async replace(): Promise<void> {
    if (this.#freshFd >= 0) {
      if (this.#dirFd !== undefined) await renameAt(this.#dirFd, NEW_NAME, this.#dirFd, NAME)
      closeSync(this.#fd)
      this.#fd = this.#freshFd
      this.#freshFd = -1
    }
    if (this.#dirFd === undefined) return
    const readable = await reopen(this.#dirFd, O_RDONLY)
    try {
      await fsync(readable)
    } finally {
      closeSync(readable)
    }
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    closeSync(this.#fd)
    if (this.#freshFd >= 0) closeSync(this.#freshFd)
    if (this.#claimFd >= 0) closeSync(this.#claimFd)
  }
}

async function namelessFile(directory: string): Promise<number> {
  const dirFd = await openRoot(directory)
  try {
    return await tmpFile(dirFd, O_RDWR, 0o600)
  } finally {
    closeSync(dirFd)
  }
}

async function removeIfThere(dirFd: number, name: string): Promise<void> {
  try {
    await unlinkAt(dirFd, name)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}

/** Copies the log in the directory, if there is one, to the empty file `to`. */
async function copyLog(dirFd: number, to: number): Promise<void> {
  let from: number
  try {
    from = await openAt(dirFd, NAME, O_RDONLY | O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    throw error
  }
  try {
    const buffer = Buffer.alloc(COPY_BYTES)
    for (let at = 0; ; ) {
      const read = await pread(from, buffer, 0, buffer.length, at)
      if (read === 0) return
      await pwrite(to, buffer.subarray(0, read), at)
      at += read
    }
  } finally {
    closeSync(from)
  }
}
