import type { Clock } from '../api/clock.ts'
import type { HandleFile } from './handle-file.ts'
import type { HandleLog, HandleRecord } from './handle-log.ts'

/** The delay in ms before a recorded place is written to the disk. */
const WRITING_MS = 2000

/**
 * A log of handles in use: records are written to the disk soon after they were made, and the log is rewritten when most of it is obsolete. An overlay has one for
 * itself, and the overlays on a stack have one together for what they know of lowers in the same way.
 */
export class HandleStore {
  readonly #file: HandleFile
  readonly #log: HandleLog
  readonly #clock: Pick<Clock, 'every'>
  /** Makes the log durable to which records of this one may have been left, before they are dropped. */
  readonly #settle: () => Promise<void>
  #compacting: Promise<void> | undefined
  #stopTicks: (() => void) | undefined
  #writingBehind: Promise<void> | undefined
  /** Whether records may not be in the file yet; only this class changes it. */
  unflushed = false
  /** After a failed rewrite, the size of the log at which it is tried again. */
  #retryBytes = 0

  constructor(file: HandleFile, clock: Pick<Clock, 'every'>, settle: () => Promise<void> = async () => undefined) {
    this.#file = file
    this.#log = file.log
    this.#clock = clock
    this.#settle = settle
  }

  /** The number of remembered identities, and their bytes on disk. */
  get usage(): { handles: number; bytes: number; liveBytes: number } {
    return { handles: this.#log.size, ...this.#log.usage }
  }

  has(key: number, generation: number): boolean {
    return this.#log.has(key, generation)
  }

  /** @see HandleLog.put */
  put(record: HandleRecord): void {
    if (this.#log.put(record)) this.#changed()
  }

  /** @see HandleLog.remove */
  remove(key: number, generation: number): void {
    if (!this.#log.has(key, generation)) return
    this.#log.remove(key, generation)
    this.#changed()
  }

  /** @see HandleLog.leave */
  leave(key: number, generation: number): void {
    this.#log.leave(key, generation)
  }

  /** @see HandleLog.layersChanged */
  layersChanged(): void {
    this.#log.layersChanged()
    this.#changed()
  }

  /** @see HandleLog.find */
  async find(key: number): Promise<HandleRecord[]> {
    return await this.#log.find(key)
  }

  /** @see HandleLog.flushed */
  flushed(): Promise<void> | undefined {
    if (!this.unflushed) return undefined
    const writing = this.#log.flushed()
    if (writing === undefined) this.unflushed = false
    this.#compactIfWorthwhile()
    return writing
  }

  /** Whether a power loss could lose a recorded place. */
  get undurable(): boolean {
    return this.#log.undurable
  }

  /** Makes the recorded places durable. @throws the error of the disk */
  async makeDurable(): Promise<void> {
    await this.#log.sync()
  }

  /** Makes all records durable, and rewrites the log if most of it is obsolete. @throws the error of the disk */
  async sync(): Promise<void> {
    await this.#compacting
    if (this.#log.wantsCompaction) await this.#compactOnce()
    await this.#log.sync()
  }

  /** Writes the records, durably or not, and closes the log in any case. @throws the error of the disk */
  async close(durably: boolean): Promise<void> {
    this.#stopTicks?.()
    try {
      await this.#writingBehind
      await this.#compacting
      // A log that no directory has ends here.
      if (this.#file.directoryFd !== undefined) await (durably ? this.sync() : this.#log.startWriting())
    } finally {
      this.#file.close()
    }
  }

  #changed(): void {
    this.unflushed = true
    this.#stopTicks ??= this.#clock.every(WRITING_MS, () => this.#writeBehind())
  }

  /** Records of lookups do not wait for the disk, but are written to it soon. */
  #writeBehind(): void {
    this.#stopTicks?.()
    this.#stopTicks = undefined
    this.#compactIfWorthwhile()
    // The next caller that waits for the disk gets the error.
    this.#writingBehind = this.#log.startWriting().catch(() => undefined)
  }

  /** Rewrites the log in the background if most of it is obsolete. */
  #compactIfWorthwhile(): void {
    if (this.#compacting || !this.#log.wantsCompaction) return
    const { bytes } = this.#log.usage
    if (bytes < this.#retryBytes) return
    this.#compactOnce().catch(() => {
      // The old log remains usable; `sync` reports an error that persists.
      this.#retryBytes = 2 * bytes
    })
  }

  #compactOnce(): Promise<void> {
    this.#compacting ??= this.#log.compact(this.#settle).finally(() => {
      this.#compacting = undefined
    })
    return this.#compacting
  }
}
