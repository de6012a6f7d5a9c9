import { fsync, pwrite } from '../sys/data.ts'
import { loopBudget } from './loop-turn.ts'
import { FrameBatch, headerOf, seal } from './record-frame.ts'

/** The number of bytes written at a time. */
const SLICE_BYTES = 64 * 1024

/** Converts a record at `at` for the rewritten file, where it is at `to`; undefined drops an obsolete one. */
export type KeepRecord = (record: Buffer, at: number, to: number) => Uint8Array | undefined

/** A new record file, which is written completely before it replaces another one or gets its name. */
export class FreshFile {
  readonly #fd: number
  readonly batch = new FrameBatch()
  written = 0
  records = 0

  constructor(fd: number, kind: string) {
    this.#fd = fd
    this.batch.appendRaw(headerOf(kind))
  }

  add(record: Uint8Array): void {
    this.batch.append(record)
    this.records++
  }

  keep(record: Buffer, at: number, keep: KeepRecord): void {
    const kept = keep(record, at, this.written + this.batch.length)
    if (kept !== undefined) this.add(kept)
  }

  /** Call it after each record, and await a returned promise. */
  pause(): Promise<void> | undefined {
    if (this.batch.length >= SLICE_BYTES) return this.#write()
    return loopBudget.spent ? loopBudget.rest() : undefined
  }

  /** Writes everything added so far. */
  async flush(): Promise<void> {
    if (this.batch.length > 0) await this.#write()
  }

  async sync(): Promise<void> {
    await this.flush()
    await fsync(this.#fd)
  }

  async #write(): Promise<void> {
    const bytes = this.batch.take()
    seal(bytes, this.written)
    await pwrite(this.#fd, bytes, this.written)
    this.written += bytes.length
  }
}
