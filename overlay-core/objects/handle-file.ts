import { type InDirectory, keptOpen, LogFile, logFileNames, readOld, takeOver } from '../base/log-file.ts'
import { claimDir } from '../sys/claim.ts'
import { pread, pwrite } from '../sys/data.ts'
import { closeSync, openRoot } from '../sys/open.ts'
import { HandleLog } from './handle-log.ts'
import { copyOldHandles } from './old-handle-log.ts'

const NAME = 'handles.log'
/** The name that earlier versions used. */
const OLD_NAME = 'handles'
const COPY_BYTES = 256 * 1024

/** The names that the log can have in its directory. */
export const HANDLE_FILE_NAMES: readonly string[] = [...logFileNames(NAME), ...logFileNames(OLD_NAME)]

/** A log of handles and its file: in the workdir, in a directory that the server names, or in a nameless file that ends with the process. */
export class HandleFile {
  readonly log: HandleLog
  /** The directory of the log, or of the log that it continues, for other data that must survive a restart; undefined for a nameless log. */
  readonly directoryFd: number | undefined
  readonly #file: LogFile
  /** A descriptor that claims the directory; it is closed with the log. */
  #claimFd = -1
  #open = true

  private constructor(file: LogFile, log: HandleLog, directoryFd: number | undefined) {
    this.#file = file
    this.log = log
    this.directoryFd = directoryFd
  }

  /**
   * Opens the log in the directory `dirFd`, which the caller keeps open, or creates it. Takes over the log of an earlier version.
   *
   * @param names the names in the directory, if known; if there is no log, it is created with its first record
   * @param within opens the directory again, so that the caller may close `dirFd` later
   */
  static async in(
    dirFd: number,
    names?: ReadonlySet<string>,
    within: InDirectory = keptOpen(dirFd),
  ): Promise<HandleFile> {
    if (names && !HANDLE_FILE_NAMES.some((name) => names.has(name)))
      return await HandleFile.#around(LogFile.absent(within, NAME), dirFd)
    const handles = await HandleFile.#around(await LogFile.in(dirFd, NAME, within), dirFd)
    const { log } = handles
    return await handles.#orClose(async () => {
      await takeOver(dirFd, OLD_NAME, async (fd, sizeBytes) => {
        await copyOldHandles(fd, sizeBytes, log)
        await log.sync()
      })
    })
  }

  /**
   * Like `in`, for a directory that cannot be written: existing records are read, and new ones end with the process.
   */
  static async copyOf(dirFd: number, directories: readonly string[]): Promise<HandleFile> {
    const file = await LogFile.nameless(directories)
    await readOld(dirFd, NAME, (fd) => copyBytes(fd, file.fd)).catch((error: unknown) => {
      file.close()
      throw error
    })
    const handles = await HandleFile.#around(file, dirFd)
    return await handles.#orClose(() =>
      readOld(dirFd, OLD_NAME, (fd, sizeBytes) => copyOldHandles(fd, sizeBytes, handles.log)),
    )
  }

  /** Opens the log in a directory given by path and claims it; undefined if another process is using it. `open` receives the directory's descriptor. */
  static async claim(directory: string, open: (dirFd: number) => Promise<HandleFile>): Promise<HandleFile | undefined> {
    const dirFd = await openRoot(directory)
    try {
      const claimFd = await claimDir(dirFd)
      if (claimFd === undefined) return undefined
      try {
        const file = await open(claimFd)
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

  /** Creates a log without a name, on the file system of the first of `directories` that accepts one. */
  static async nameless(directories: readonly string[]): Promise<HandleFile> {
    return await HandleFile.#around(await LogFile.nameless(directories), undefined)
  }

  static async #around(file: LogFile, directoryFd: number | undefined): Promise<HandleFile> {
    try {
      return new HandleFile(file, await HandleLog.open(file), directoryFd)
    } catch (error) {
      file.close()
      throw error
    }
  }

  async #orClose(work: () => Promise<unknown>): Promise<this> {
    try {
      await work()
      return this
    } catch (error) {
      this.close()
      throw error
    }
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#file.close()
    if (this.#claimFd >= 0) closeSync(this.#claimFd)
  }
}

async function copyBytes(from: number, to: number): Promise<void> {
  const buffer = Buffer.alloc(COPY_BYTES)
  for (let at = 0; ; ) {
    const read = await pread(from, buffer, 0, buffer.length, at)
    if (read === 0) return
    await pwrite(to, buffer.subarray(0, read), at)
    at += read
  }
}
