import type { Clock } from '../api/clock.ts'
import { isErrno } from '../api/errno.ts'
import { startWriting } from '../sys/data.ts'
import { closeLater, closeSmallLater } from '../sys/open.ts'
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
  #waiting: Waiting[] = []
  #running: Promise<void> | undefined
  #stopTicks: (() => void) | undefined
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether another file can be added. */
  get hasRoom(): boolean {
    return !this.#closed && this.#waiting.length < MOST_WAITING
  }

  /**
   * Takes over the descriptor `fd` of a file, open for writing; starts writing the file and then closes it. `local`: no other process or
   * machine takes part in closing it.
   */
  add(fd: number, local: boolean): void {
    this.#waiting.push({ fd, local })
    this.#stopTicks ??= this.#clock.every(DELAY_MS, () => this.#tick())
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
    if (this.#waiting.length === 0) {
      this.#stopTicks?.()
      this.#stopTicks = undefined
      return
    }
    this.#running = this.#write().finally(() => {
      this.#running = undefined
    })
  }

  async #write(): Promise<void> {
    const files = this.#waiting
    this.#waiting = []
    // A file that was replaced again meanwhile need not be written.
    const gone = new Set(files.filter((file) => file.local && isGoneAndSmall(file.fd)))
    closeSmallLater(Array.from(gone, ({ fd }) => fd))
    for (const file of files) {
      if (gone.has(file)) continue
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

/** Whether the file has no name any more, and so little content that freeing it takes a moment. */
function isGoneAndSmall(fd: number): boolean {
  try {
    const { nlink, blocks } = statxFd(fd)
    return nlink === 0 && blocks <= SMALL_BLOCKS
  } catch (error) {
    if (!isErrno(error)) throw error
    return false
  }
}
