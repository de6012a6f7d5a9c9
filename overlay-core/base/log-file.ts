import { bestEffort, isErrno } from '../api/errno.ts'
import type { MaybePromise } from '../api/types.ts'
import { fsync } from '../sys/data.ts'
import { renameAt, unlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { closeSync, openAt, openRoot, reopen, tmpFile } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

/** Runs `work` with the descriptor of a directory, which stays open until `work` has ended. */
export type InDirectory = <T>(work: (dirFd: number) => Promise<T>) => MaybePromise<T>

/** A directory that the caller keeps open. */
export function keptOpen(dirFd: number): InDirectory {
  return (work) => work(dirFd)
}

/** The names in their directory of a file of records called `name` and of its replacement. */
export function logFileNames(name: string): readonly string[] {
  return [name, newName(name)]
}

function newName(name: string): string {
  return `${name}.new`
}

/** The file of a log: either named in a directory, or nameless and deleted with the process. */
export class LogFile {
  readonly #inDirectory: InDirectory | undefined
  readonly #name: string
  /** The directory for nameless files. */
  readonly #directory: string
  #creating: Promise<void> | undefined
  #fd: number
  #freshFd = -1
  #open = true

  private constructor(place: { within?: InDirectory; name?: string; directory?: string }, fd: number) {
    this.#inDirectory = place.within
    this.#name = place.name ?? ''
    this.#directory = place.directory ?? ''
    this.#fd = fd
  }

  /** Opens or creates the file `name`, mode 0600, in the directory `dirFd`, which the caller owns and keeps open unless `within` opens it again. */
  static async in(dirFd: number, name: string, within = keptOpen(dirFd)): Promise<LogFile> {
    await removeIfThere(dirFd, newName(name))
    return new LogFile({ within, name }, await openAt(dirFd, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600))
  }

  /** The file `name`, which its directory does not have yet; `create` creates it. */
  static absent(within: InDirectory, name: string): LogFile {
    return new LogFile({ within, name }, -1)
  }

  /** A nameless file in the first of `directories` that supports one. */
  static async nameless(directories: readonly string[]): Promise<LogFile> {
    const [directory = '', ...others] = directories
    try {
      return new LogFile({ directory }, await namelessFile(directory))
    } catch (error) {
      if (others.length === 0 || !isErrno(error)) throw error
      return await LogFile.nameless(others)
    }
  }

  get fd(): number {
    return this.#fd
  }

  /** Whether there is a file; false until `create` if it was absent. */
  get exists(): boolean {
    return this.#fd >= 0
  }

  /** Creates the file if it does not exist. */
  async create(): Promise<void> {
    if (this.exists) return
    this.#creating ??= this.#create().finally(() => {
      this.#creating = undefined
    })
    await this.#creating
  }

  async #create(): Promise<void> {
    const open = (dirFd: number) => openAt(dirFd, this.#name, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
    this.#fd = await (this.#inDirectory as InDirectory)(open)
  }

  get sizeBytes(): number {
    return this.exists ? statxFd(this.#fd).size : 0
  }

  /** Starts the replacement file and returns its descriptor. */
  async begin(): Promise<number> {
    const name = newName(this.#name)
    const create = async (dirFd: number) => {
      await removeIfThere(dirFd, name)
      return await openAt(dirFd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    }
    this.#freshFd = await (this.#inDirectory ? this.#inDirectory(create) : namelessFile(this.#directory))
    return this.#freshFd
  }

  /** Discards the replacement file. */
  async abandon(): Promise<void> {
    if (this.#freshFd < 0) return
    closeSync(this.#freshFd)
    this.#freshFd = -1
    await bestEffort(() => this.#inDirectory?.(async (dirFd) => unlinkAt(dirFd, newName(this.#name))))
  }

  /** Renames the replacement file, whose content is durable, over the old one. `adopt` must follow synchronously. */
  async place(): Promise<void> {
    await this.#inDirectory?.((dirFd) => renameAt(dirFd, newName(this.#name), dirFd, this.#name))
  }

  /** Switches to the new file. Returns the descriptor of the old one, which the caller closes when nobody uses it. */
  adopt(): number {
    const old = this.#fd
    this.#fd = this.#freshFd
    this.#freshFd = -1
    return old
  }

  /** Makes the name of the file durable. */
  async syncName(): Promise<void> {
    await this.#inDirectory?.(syncDirectory)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    if (this.exists) closeSync(this.#fd)
    if (this.#freshFd >= 0) closeSync(this.#freshFd)
  }
}

/**
 * Imports a file `name` of an earlier version. `read` gets its descriptor and size, and resolves when all of its content
 * is durable in its new place; only then is the file removed. Returns whether there was one.
 */
export async function takeOver(
  dirFd: number,
  name: string,
  read: (fd: number, sizeBytes: number) => Promise<void>,
): Promise<boolean> {
  if (!(await readOld(dirFd, name, read))) return false
  await removeIfThere(dirFd, name)
  // If a power loss brought the old file back, it would seem newer than the records written since.
  await syncDirectory(dirFd)
  return true
}

/** Like `takeOver`, but keeps the file. */
export async function readOld(
  dirFd: number,
  name: string,
  read: (fd: number, sizeBytes: number) => Promise<void>,
): Promise<boolean> {
  let fd: number
  try {
    fd = await openAt(dirFd, name, O_RDONLY | O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP')) return false
    throw error
  }
  try {
    await read(fd, statxFd(fd).size)
    return true
  } finally {
    closeSync(fd)
  }
}

/** Makes the names in a directory durable (an O_PATH descriptor suffices). */
export async function syncDirectory(dirFd: number): Promise<void> {
  const readable = await reopen(dirFd, O_RDONLY)
  try {
    await fsync(readable)
  } finally {
    closeSync(readable)
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
