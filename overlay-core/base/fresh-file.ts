import { fsync, pwrite } from '../sys/data.ts'
import { loopBudget } from './loop-turn.ts'
import { FrameBatch, headerOf, seal } from './record-frame.ts'

/** So much is written at a time. */
const SLICE_BYTES = 64 * 1024

/** What a record becomes in a file that is written anew, at `to`: undefined when it does not count any more. It stood at `at`. */
export type KeepRecord = (record: Buffer, at: number, to: number) => Uint8Array | undefined

/** A file of records that is written from its start, before it takes the place of another or of none. */
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

  /** To be awaited after each record, when it gives a promise. */
  pause(): Promise<void> | undefined {
    if (this.batch.length >= SLICE_BYTES) return this.#write()
    return loopBudget.spent ? loopBudget.rest() : undefined
  }

  async sync(): Promise<void> {
    if (this.batch.length > 0) await this.#write()
    await fsync(this.#fd)
  }

  async #write(): Promise<void> {
    const bytes = this.batch.take()
    seal(bytes, this.written)
    await pwrite(this.#fd, bytes, this.written)
    this.written += bytes.length
  }
}
