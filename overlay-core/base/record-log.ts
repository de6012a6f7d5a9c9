import { truncateFd } from '../sys/attr.ts'
import { fdatasync, fsync, pwrite, pwriteIfFree, startWriting } from '../sys/data.ts'
import { closeLater } from '../sys/open.ts'
import { FreshFile, type KeepRecord } from './fresh-file.ts'
import type { LogFile } from './log-file.ts'
import {
  FrameBatch,
  HEADER_BYTES,
  hasHeader,
  headerOf,
  readRecordAt,
  recordIn,
  scan,
  seal,
  type TakeRecord,
} from './record-frame.ts'

/** The maximum number of bytes that wait while the disk accepts nothing. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024

/** The options of a record log. */
export interface LogFormat {
  /** The kind of the records, up to eight letters; a file of another kind is replaced. */
  readonly kind: string
  /** When a record is durable: with `always` once `flushed` resolves, with `batched` once `sync` does, with `never` it need not be. */
  readonly durability: 'always' | 'batched' | 'never'
  /** The fate of records that could not be written: `kept` and written before later ones, or `dropped`, as if they had never been appended. */
  readonly unwritten: 'kept' | 'dropped'
}

/**
 * An append-only file of records, each of which is complete or absent. Appends are collected and written together; `flushed` tells when they are in
 * the file, where they survive the death of the process. A torn record at the end is cut off, and damage in the middle is skipped.
 * The owner can have the file rewritten next to the old one, while others continue to append.
 */
export class RecordLog {
  readonly #file: LogFile
  readonly #format: LogFormat
  /** The file is written up to here, except for writes in progress. */
  #written = 0
  #flying: Buffer<ArrayBuffer> | undefined
  #writing: Promise<void> | undefined
  #batch = new FrameBatch()
  #spare: Buffer<ArrayBuffer> | undefined
  /** The next write of the batch, shared by all callers that wait for it. */
  #next: Promise<void> | undefined
  /** While this is pending nothing is written, because the file is about to be replaced. */
  #held: Promise<void> | undefined
  #rewriting: Promise<void> | undefined
  #failure: unknown
  /** Whether dropped records may be in the file after `#written`. */
  #ragged = false
  /** Whether the name of the file may not be durable yet. */
  #unnamed = true
  /** Everything before this offset is durable; -1: nothing is known to be. */
  #durableTo = -1
  /** The preallocated size of the file. */
  #reservedBytes = 0
  /** The number of reads and fsyncs that use the file. */
  readonly #using = new Set<Promise<unknown>>()
  #records = 0
  #damagedBytes = 0
  #rewrites = 0

  private constructor(file: LogFile, format: LogFormat) {
    this.#file = file
    this.#format = format
  }

  /** Passes the records of `file`, which may be empty, to `take`, oldest first. The caller owns the file and closes it after the log's last use. */
  static async open(file: LogFile, format: LogFormat, take: TakeRecord): Promise<RecordLog> {
    const log = new RecordLog(file, format)
    await log.#replay(take)
    return log
  }

  /** The offset of the next record. */
  get end(): number {
    return this.#batchAt + this.#batch.length
  }

  /** The number of records in the file, live or obsolete. */
  get records(): number {
    return this.#records
  }

  /** The number of bytes in the middle of the file that were not records when it was opened: something other than a crash has damaged it. */
  get damagedBytes(): number {
    return this.#damagedBytes
  }

  /** The number of rewrites of the file. Offsets of records are valid until the next rewrite. */
  get rewrites(): number {
    return this.#rewrites
  }

  /** The error that prevents writing at present, if any. */
  get failure(): unknown {
    return this.#failure
  }

  /**
   * Adds a record and returns its offset. Returns 0 and drops the record if the disk accepts nothing and too many records wait already. Records are
   * written when somebody calls `flushed`.
   *
   * @throws EFBIG the record is empty or too long
   */
  append(record: Uint8Array): number {
    if (this.#failure !== undefined && this.#batch.length >= MOST_WAITING_BYTES) return 0
    const at = this.end
    this.#batch.append(record)
    this.#records++
    return at
  }

  /**
   * Resolves when everything appended so far is in the file, and durable if the durability is `always`; undefined if it is already, also
   * because the event loop had time to write it now.
   *
   * @throws the error of a write that failed
   */
  flushed(): Promise<void> | undefined {
    if (this.#batch.length === 0 || this.#isUnused) return this.#writing
    if (this.#next === undefined && this.#writesAtOnce()) return undefined
    this.#next ??= this.#writeNext()
    return this.#next
  }

  /** Makes appended records durable. */
  async sync(): Promise<void> {
    await this.flushed()
    if (this.#format.durability === 'never' || this.#isUnused) return
    const to = this.#written
    if (to === this.#durableTo && !this.#unnamed) return
    const { rewrites } = this
    await this.#use(fsync(this.#file.fd))
    if (this.#unnamed) await this.#syncName()
    if (rewrites === this.#rewrites) this.#durableTo = to
  }

  /** Whether there is neither a file nor a record. */
  get #isUnused(): boolean {
    return !this.#file.exists && this.#records === 0
  }

  /** Starts writing appended records to the disk. */
  async startWriting(): Promise<void> {
    await this.flushed()
    if (this.#isUnused) return
    await this.#use(startWriting(this.#file.fd))
  }

  /** A copy of the record at `at`; undefined if there is none. */
  async read(at: number): Promise<Buffer | undefined> {
    if (at >= this.#batchAt) return at < this.end ? Buffer.from(this.#batch.record(at - this.#batchAt)) : undefined
    if (at >= this.#written) return Buffer.from(recordIn(this.#flying as Buffer, at - this.#written))
    return await this.#use(readRecordAt(this.#file.fd, at))
  }

  /** Allocates space for this many bytes of records, which can then be written even if the disk is full. Only in an empty log. */
  async reserve(bytes: number): Promise<void> {
    await pwrite(this.#file.fd, Buffer.alloc(bytes), HEADER_BYTES)
    this.#reservedBytes = HEADER_BYTES + bytes
  }

  /** Starts again at the beginning of the file. All records become obsolete, though a later `open` may find some. Only while nothing is being appended. */
  rewind(): void {
    this.#written = HEADER_BYTES
    this.#records = 0
    this.#durableTo = -1
  }

  /**
   * Rewrites the file with the records that `keep` returns, in their order; records appended meanwhile pass through `keep` too. `adopt` is called at the
   * moment from which offsets refer to the new file. After an error the old file stays in use.
   */
  compact(keep: KeepRecord, adopt: () => void): Promise<void> {
    return this.#rewriteOnce(async (fresh, begin) => {
      const from = await this.#copy(fresh, HEADER_BYTES, keep)
      // Write most of it to the disk before anybody has to wait.
      await fresh.sync()
      await begin()
      await this.#copy(fresh, from, keep)
      return () => {
        this.#batch.each(this.#written === 0 ? HEADER_BYTES : 0, (record, at) =>
          fresh.keep(record, this.#written + at, keep),
        )
        adopt()
      }
    })
  }

  /**
   * Rewrites the file with the records of `live`, which must represent everything appended so far. `live` is called when no write is in progress;
   * records appended after that follow in the new file. After an error the old file stays in use.
   */
  replaceWith(live: () => Iterable<Uint8Array>): Promise<void> {
    return this.#rewriteOnce(async (fresh, begin) => {
      await begin()
      // A caller that was just told of a failure may have to undo something first.
      await new Promise((resolve) => setImmediate(resolve))
      const records = live()
      const covered = this.#batch.length
      for (const record of records) {
        fresh.add(record)
        await fresh.pause()
      }
      return () => this.#batch.each(covered, (record) => fresh.add(record))
    })
  }

  get #batchAt(): number {
    return this.#written + (this.#flying?.length ?? 0)
  }

  async #replay(take: TakeRecord): Promise<void> {
    const { fd, sizeBytes, exists } = this.#file
    if (!exists || !(await hasHeader(fd, this.#format.kind))) {
      if (sizeBytes > 0) await truncateFd(fd, 0)
      // The header is written with the first records, as soon as there is space.
      this.#batch.appendRaw(headerOf(this.#format.kind))
      return
    }
    const { end, damagedBytes } = await scan(fd, HEADER_BYTES, sizeBytes, (record, at) => {
      this.#records++
      return take(record, at)
    })
    this.#written = end
    this.#damagedBytes = damagedBytes
    if (end < sizeBytes) await truncateFd(fd, end)
    this.#unnamed = false
  }

  /** Writes the batch in this turn of the event loop, if that needs no other step and there is time for it. After a failure it is written again, which reports it. */
  #writesAtOnce(): boolean {
    if (this.#writing !== undefined || this.#held !== undefined || this.#ragged) return false
    if (!this.#file.exists || this.#format.durability === 'always') return false
    const { bytes } = this.#batch
    seal(bytes, this.#written)
    try {
      if (!pwriteIfFree(this.#file.fd, bytes, this.#written)) return false
    } catch {
      return false
    }
    this.#written += bytes.length
    this.#batch.clear()
    this.#failure = undefined
    return true
  }

  async #writeNext(): Promise<void> {
    do {
      // Others wait for this and handle the failure.
      await (this.#held ?? this.#writing?.catch(() => undefined))
    } while (this.#held !== undefined || this.#writing !== undefined)
    this.#next = undefined
    if (this.#batch.length === 0) return
    this.#writing = this.#write()
    await this.#writing
  }

  async #write(): Promise<void> {
    const bytes = this.#batch.take(this.#spare)
    this.#spare = undefined
    this.#flying = bytes
    seal(bytes, this.#written)
    try {
      await this.#put(bytes)
      this.#written += bytes.length
      this.#spare = bytes
      this.#failure = undefined
    } catch (error) {
      this.#failure = error
      this.#unwritten(bytes)
      throw error
    } finally {
      this.#flying = undefined
      this.#writing = undefined
    }
  }

  async #put(bytes: Buffer): Promise<void> {
    await this.#file.create()
    const { fd } = this.#file
    if (this.#ragged) await truncateFd(fd, Math.max(this.#written, this.#reservedBytes))
    this.#ragged = false
    await pwrite(fd, bytes, this.#written)
    if (this.#format.durability !== 'always') return
    await fdatasync(fd)
    if (this.#unnamed) await this.#syncName()
  }

  #unwritten(bytes: Buffer): void {
    const after = this.#batch.take()
    if (this.#format.unwritten === 'kept') this.#batch.appendRaw(bytes)
    else {
      this.#ragged = true
      if (this.#written === 0) this.#batch.appendRaw(headerOf(this.#format.kind))
    }
    this.#batch.appendRaw(after)
  }

  async #syncName(): Promise<void> {
    await this.#file.syncName()
    this.#unnamed = false
  }

  #use<T>(work: Promise<T>): Promise<T> {
    this.#using.add(work)
    return work.finally(() => this.#using.delete(work))
  }

  async #copy(fresh: FreshFile, from: number, keep: KeepRecord): Promise<number> {
    const to = this.#written
    await scan(this.#file.fd, Math.max(from, HEADER_BYTES), to, (record, at) => {
      fresh.keep(record, at, keep)
      return fresh.pause()
    })
    return to
  }

  #rewriteOnce(fill: Fill): Promise<void> {
    this.#rewriting ??= this.#rewrite(fill).finally(() => {
      this.#rewriting = undefined
    })
    return this.#rewriting
  }

  async #rewrite(fill: Fill): Promise<void> {
    const { promise, resolve: release } = Promise.withResolvers<void>()
    const begin = async () => {
      this.#held = promise
      await this.#writing?.catch(() => undefined)
    }
    let old: number
    try {
      const fresh = new FreshFile(await this.#file.begin(), this.#format.kind)
      const transfer = await fill(fresh, begin)
      await fresh.sync()
      await this.#file.place()
      old = this.#adopt(fresh, transfer)
    } catch (error) {
      await this.#file.abandon()
      throw error
    } finally {
      this.#held = undefined
      release()
    }
    await Promise.allSettled(this.#using)
    if (old >= 0) closeLater(old)
    await this.#syncName()
  }

  /** Synchronous, so that nothing is appended in between. */
  #adopt(fresh: FreshFile, transfer: () => void): number {
    transfer()
    this.#written = fresh.written
    this.#batch = fresh.batch
    this.#records = fresh.records
    this.#damagedBytes = 0
    this.#failure = undefined
    this.#ragged = false
    this.#unnamed = true
    this.#durableTo = -1
    this.#rewrites++
    return this.#file.adopt()
  }
}

/** Fills a new file. After `begin` has resolved, nothing is written to the old one. Returns a function to call when the new file has its name. */
type Fill = (fresh: FreshFile, begin: () => Promise<void>) => Promise<() => void>
