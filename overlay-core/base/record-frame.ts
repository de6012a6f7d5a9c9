import { crc32 } from 'node:zlib'
import { OverlayError } from '../api/errno.ts'
import { pread } from '../sys/data.ts'
import { loopBudget } from './loop-turn.ts'

/** The first bytes of every file of records; the digits are the version of the framing. */
const MAGIC = Buffer.from('OVLLOG01')
const KIND_BYTES = 8
/** Magic and kind, at the start of a file. */
export const HEADER_BYTES = MAGIC.length + KIND_BYTES
/** A frame precedes each record: crc32 · length (32 bits each, little endian). The checksum covers the frame's offset in the file, length and record. */
export const FRAME_BYTES = 8
/** The longest record. */
export const MOST_RECORD_BYTES = 8 * 1024 * 1024
/** Most records fit into this size. */
const USUAL_BYTES = 512
const CHUNK_BYTES = 1024 * 1024
const FIRST_BATCH_BYTES = 4096
/** A larger batch is not reused. */
const MOST_SPARE_BYTES = 256 * 1024
/** The number of bytes without a frame that are skipped between two checks of the loop budget. */
const BYTES_PER_LOOK = 4096

/** The header of a file with records of the store `kind`, which has up to eight letters. */
export function headerOf(kind: string): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  MAGIC.copy(header)
  header.write(kind, MAGIC.length, 'latin1')
  return header
}

/** Records in memory, laid out as in the file except for their checksums. */
export class FrameBatch {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BATCH_BYTES)
  #length = 0

  /** With frames and headers. */
  get length(): number {
    return this.#length
  }

  /** The contents; valid until the batch changes. */
  get bytes(): Buffer<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Empties the batch. */
  clear(): void {
    this.#length = 0
  }

  /** Adds bytes that are not a record. */
  appendRaw(bytes: Uint8Array): void {
    this.#grow(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Adds a copy of a record. @throws EFBIG it is longer than `MOST_RECORD_BYTES`, or empty */
  append(record: Uint8Array): void {
    const { length } = record
    if (length === 0 || length > MOST_RECORD_BYTES) throw new OverlayError('EFBIG', 'append')
    this.#grow(FRAME_BYTES + length)
    this.#bytes.writeUInt32LE(length, this.#length + 4)
    this.#bytes.set(record, this.#length + FRAME_BYTES)
    this.#length += FRAME_BYTES + length
  }

  /** The record whose frame starts at `at`; valid until the batch changes. */
  record(at: number): Buffer {
    return recordIn(this.#bytes, at)
  }

  /** Passes on all records from `at`, with the offsets of their frames. */
  each(at: number, take: (record: Buffer, at: number) => void): void {
    for (let next = at; next < this.#length; ) {
      const record = this.record(next)
      take(record, next)
      next += FRAME_BYTES + record.length
    }
  }

  /** Empties the batch and returns its contents; `spare`, an unused buffer, is filled next. */
  take(spare?: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
    const taken = this.#bytes.subarray(0, this.#length)
    const usable = spare !== undefined && spare.buffer.byteLength <= MOST_SPARE_BYTES
    this.#bytes = usable ? Buffer.from(spare.buffer) : Buffer.allocUnsafeSlow(FIRST_BATCH_BYTES)
    this.#length = 0
    return taken
  }

  #grow(bytes: number): void {
    const needed = this.#length + bytes
    if (needed <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }
}

/** The record of the frame at `at`, without checking it. */
export function recordIn(bytes: Buffer, at: number): Buffer {
  return bytes.subarray(at + FRAME_BYTES, at + FRAME_BYTES + bytes.readUInt32LE(at + 4))
}

/** Sets the checksums of the frames in `bytes`, which will be at `position` of the file. */
export function seal(bytes: Buffer, position: number): void {
  for (let at = position === 0 ? HEADER_BYTES : 0; at < bytes.length; ) {
    const end = at + FRAME_BYTES + bytes.readUInt32LE(at + 4)
    bytes.writeUInt32LE(checksum(bytes, at, end, position + at), at)
    at = end
  }
}

function checksum(bytes: Buffer, at: number, end: number, position: number): number {
  return crc32(bytes.subarray(at + 4, end), position >>> 0)
}

/** The record of the frame at `at` of `bytes`, which extends to the end of the file; undefined if the frame is incomplete. */
export function checkedRecord(bytes: Buffer, at: number, position: number): Buffer | undefined {
  if (at + FRAME_BYTES > bytes.length) return undefined
  const end = at + FRAME_BYTES + bytes.readUInt32LE(at + 4)
  if (end > bytes.length || end === at + FRAME_BYTES) return undefined
  return checksum(bytes, at, end, position) === bytes.readUInt32LE(at)
    ? bytes.subarray(at + FRAME_BYTES, end)
    : undefined
}

/** Whether the file `fd` starts with the header of `kind`. */
export async function hasHeader(fd: number, kind: string): Promise<boolean> {
  const found = Buffer.alloc(HEADER_BYTES)
  return (await pread(fd, found, 0, HEADER_BYTES, 0)) === HEADER_BYTES && found.equals(headerOf(kind))
}

/** The result of `scan`. */
export interface Scanned {
  /** The offset after the last intact record. */
  readonly end: number
  /** The number of bytes between records that are not records: the file is damaged. */
  readonly damagedBytes: number
}

/** Receives a record and the offset of its frame. The record is valid until `take` returns or its promise resolves. */
export type TakeRecord = (record: Buffer, at: number) => void | Promise<void>

/**
 * Passes on all intact records of the file `fd` between `from` and `to`. Torn or damaged data is skipped byte by byte up to the next intact
 * record: because a checksum covers the offset in the file, no content of a record can be mistaken for one.
 */
export async function scan(fd: number, from: number, to: number, take: TakeRecord): Promise<Scanned> {
  const window = new Window(fd, to)
  let end = from
  let damagedBytes = 0
  for (let at = from; ; ) {
    const bytes = await window.frameBytes(at)
    if (bytes === undefined) return { end, damagedBytes }
    const record = bytes > 0 ? window.record(at) : undefined
    if (record === undefined) {
      at++
      if ((bytes > 0 || at % BYTES_PER_LOOK === 0) && loopBudget.spent) await loopBudget.rest()
      continue
    }
    const taken = take(record, at)
    if (taken !== undefined) await taken
    damagedBytes += at - end
    at += bytes
    end = at
    if (loopBudget.spent) await loopBudget.rest()
  }
}

/** A moving window on a file. */
class Window {
  readonly #fd: number
  readonly #to: number
  #bytes = Buffer.alloc(0)
  #filled = this.#bytes
  #start = 0

  constructor(fd: number, to: number) {
    this.#fd = fd
    this.#to = to
  }

  /**
   * The length of the frame at `at` according to its header; the window then contains all of it. Returns 0 if it cannot be a frame, and undefined if the
   * rest of the file is too short for one.
   */
  async frameBytes(at: number): Promise<number | undefined> {
    if (at + FRAME_BYTES > this.#to || !(await this.#has(at, FRAME_BYTES))) return undefined
    const length = this.#filled.readUInt32LE(at - this.#start + 4)
    if (length === 0 || length > MOST_RECORD_BYTES || at + FRAME_BYTES + length > this.#to) return 0
    return (await this.#has(at, FRAME_BYTES + length)) ? FRAME_BYTES + length : 0
  }

  record(at: number): Buffer | undefined {
    return checkedRecord(this.#filled, at - this.#start, at)
  }

  async #has(at: number, length: number): Promise<boolean> {
    if (at >= this.#start && at + length <= this.#start + this.#filled.length) return true
    // Reads twice as much, so that the bytes after this one do not each cause another read.
    const wanted = Math.min(Math.max(CHUNK_BYTES, 2 * length), this.#to - at)
    if (this.#bytes.length < wanted) this.#bytes = Buffer.allocUnsafeSlow(wanted)
    let read = 0
    while (read < wanted) {
      const more = await pread(this.#fd, this.#bytes, read, wanted - read, at + read)
      if (more === 0) break
      read += more
    }
    this.#filled = this.#bytes.subarray(0, read)
    this.#start = at
    return read >= length
  }
}

/** The record whose frame is at `at` of the file `fd`; undefined if there is none. */
export async function readRecordAt(fd: number, at: number): Promise<Buffer | undefined> {
  const usual = Buffer.alloc(USUAL_BYTES)
  const read = await pread(fd, usual, 0, USUAL_BYTES, at)
  if (read < FRAME_BYTES) return undefined
  const length = FRAME_BYTES + usual.readUInt32LE(4)
  if (length <= USUAL_BYTES) return checkedRecord(usual.subarray(0, read), 0, at)
  if (length > FRAME_BYTES + MOST_RECORD_BYTES) return undefined
  const long = Buffer.alloc(length)
  return checkedRecord(long.subarray(0, await pread(fd, long, 0, length, at)), 0, at)
}
