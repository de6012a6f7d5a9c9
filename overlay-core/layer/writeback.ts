import type { Clock } from '../api/clock.ts'
import { isErrno } from '../api/errno.ts'
import { startWriting } from '../sys/data.ts'
import { closeInPool, closeLater, closeSmallLater } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

/** The delay in ms before the content of a replacing file is written to the disk. */
const DELAY_MS = 20
/** The size up to which a file counts as small, in blocks of 512 bytes: 1 MiB. */
const SMALL_BLOCKS = 2048
/** The maximum number of waiting files, each with a descriptor. */
const MOST_WAITING = 256

interface Waiting {
  readonly fd: number
  readonly local: boolean
}

/**
 * Writes the content of files that replaced others to the disk, soon and in the background.
 *
 * A file system with delayed allocation (ext4) may record that a name means a new file before it writes the content of the new file; after a power loss in
 * between, neither content is left. So ext4 starts writing at each rename that replaces a file, which makes that rename several times as expensive as
 * others. An exchange does not do that, so it is done here, once for each file that still exists a moment later.
 */
export class Writeback {
  readonly #clock: Clock
  /** By inode number. */
  readonly #waiting = new Map<number, Waiting>()
  #running: Promise<void> | undefined
  #stopTicks: (() => void) | undefined
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether another file can be added. */
  get hasRoom(): boolean {
    return !this.#closed && this.#waiting.size < MOST_WAITING
  }

  /**
   * Takes over the descriptor `fd` of the file with the number `ino`, open for writing; starts writing the file and then closes it. `local`: no other process
   * or machine takes part in closing it.
   */
  add(fd: number, ino: number, local: boolean): void {
    this.#close(ino)
    this.#waiting.set(ino, { fd, local })
    this.#stopTicks ??= this.#clock.every(DELAY_MS, () => this.#tick())
  }

  /** After the last name of a file was removed: closes it, unless it is small and closed soon. Resolves when its space is free; undefined if there is nothing to wait for. */
  leave(ino: number): Promise<void> | undefined {
    const file = this.#waiting.get(ino)
    return file === undefined || isSmall(file) ? undefined : this.#close(ino)
  }

  #close(ino: number): Promise<void> | undefined {
    const file = this.#waiting.get(ino)
    this.#waiting.delete(ino)
    return file && closeInPool(file.fd)
  }

  /** Writes all waiting files; resolves when that is done. Afterwards no file can be added. */
  async close(): Promise<void> {
    this.#closed = true
    this.#stopTicks?.()
    await this.#running
    await this.#write()
  }

  #tick(): void {
    if (this.#running) return
    if (this.#waiting.size === 0) {
      this.#stopTicks?.()
      this.#stopTicks = undefined
      return
    }
    this.#running = this.#write().finally(() => {
      this.#running = undefined
    })
  }

  async #write(): Promise<void> {
    const files = [...this.#waiting]
    // A file that was replaced again meanwhile need not be written.
    const gone = files.filter(([, file]) => isSmall(file) && isGone(file))
    for (const [ino] of gone) this.#waiting.delete(ino)
    closeSmallLater(gone.map(([, { fd }]) => fd))
    for (const [ino, file] of files) {
      if (this.#waiting.get(ino) !== file) continue
      this.#waiting.delete(ino)
      const { fd } = file
      try {
        if (statxFd(fd).nlink > 0) await startWriting(fd)
      } catch (error) {
        // A caller that needs durability uses fsync, which reports the error; nobody waits here.
        if (!isErrno(error)) throw error
      } finally {
        closeLater(fd)
      }
    }
  }
}

/** Whether closing the file takes a moment, even if that frees its content. */
function isSmall({ fd, local }: Waiting): boolean {
  return local && statOf(fd).blocks <= SMALL_BLOCKS
}

function isGone({ fd }: Waiting): boolean {
  return statOf(fd).nlink === 0
}

/** If they cannot be read, those of a large file with a name. */
function statOf(fd: number): { readonly nlink: number; readonly blocks: number } {
  try {
    return statxFd(fd)
  } catch (error) {
    if (!isErrno(error)) throw error
    return { nlink: 1, blocks: Number.POSITIVE_INFINITY }
  }
}
