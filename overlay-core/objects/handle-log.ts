import type { Name } from '../api/types.ts'
import type { LogFile } from '../base/log-file.ts'
import { OffsetMap } from '../base/offset-map.ts'
import { FRAME_BYTES } from '../base/record-frame.ts'
import { type LogFormat, RecordLog } from '../base/record-log.ts'

/** The location of an object with an identity: a name in a directory, which has an identity itself. */
export interface HandleRecord {
  readonly key: number
  readonly generation: number
  readonly dirKey: number
  readonly name: Name
}

/** A record in the log, and the offset of the previous record of the same object (0: none). */
interface Logged extends HandleRecord {
  readonly previous: number
}

const FORMAT: LogFormat = { kind: 'handles', durability: 'batched', unwritten: 'kept' }
/** Key · directory key · previous offset (doubles) · generation (32 bits) · kind (8), all little endian; then the name. */
const FIXED_BYTES = 29
const GENERATION_AT = 24
const KIND_AT = 28
const PLACE = 1
const GONE = 2
/** A log below this size is never rewritten. */
const COMPACT_FROM_BYTES = 1024 * 1024

// The buffer in which records are encoded before the log copies them.
let making = Buffer.allocUnsafeSlow(1024)

/**
 * The memory of all identities that were ever given to clients. It consists of a log on disk and a hash table in memory, which has only the offset of the
 * last record and the generation for each object. `flushed` tells when records survive the death of the process.
 */
export class HandleLog {
  readonly #log: RecordLog
  #places: OffsetMap
  /** The bytes of all records of places ever appended, for estimating how many are live. */
  #placeBytes = 0
  #placeCount = 0
  /** The number of places recorded since the log was opened, and how many of them are known to be durable. */
  #noted = 0
  #durable = 0

  private constructor(log: RecordLog, places: OffsetMap) {
    this.#log = log
    this.#places = places
  }

  /** Reads the log in `file`, which may be empty and belongs to the caller. */
  static async open(file: LogFile): Promise<HandleLog> {
    const places = new OffsetMap()
    let bytes = 0
    let count = 0
    const log = await RecordLog.open(file, FORMAT, (record, at) => {
      const { key, generation } = numbersOf(record)
      if (record[KIND_AT] === GONE) {
        if (isAt(places, key, generation)) places.delete(key)
        return
      }
      bytes += FRAME_BYTES + record.length
      count++
      places.set(key, at, generation)
    })
    const handles = new HandleLog(log, places)
    handles.#placeBytes = bytes
    handles.#placeCount = count
    return handles
  }

  /** The number of known objects. */
  get size(): number {
    return this.#places.size
  }

  /** The size of the log in bytes, and an estimate of the live part. */
  get usage(): { bytes: number; liveBytes: number } {
    const average = this.#placeCount === 0 ? 0 : this.#placeBytes / this.#placeCount
    return { bytes: this.#log.end, liveBytes: Math.round(this.#places.size * average) }
  }

  has(key: number, generation: number): boolean {
    return isAt(this.#places, key, generation)
  }

  /**
   * Records where an object is or is about to be; the previous place remains the second result of `find`. While the disk accepts nothing
   * and too many records wait, nothing is recorded. Such an object is not found again, but is never confused with another one.
   */
  put(record: HandleRecord): void {
    const { key, generation } = record
    const previous = this.has(key, generation) ? this.#places.get(key) : 0
    const bytes = encode(PLACE, record, previous)
    const at = this.#log.append(bytes)
    if (at === 0) return
    this.#placeBytes += FRAME_BYTES + bytes.length
    this.#placeCount++
    this.#places.set(key, at, generation)
    this.#noted++
  }

  /** Records that the object no longer exists. Does nothing if its key belongs to another object by now. */
  remove(key: number, generation: number): void {
    if (!this.has(key, generation)) return
    this.#log.append(encode(GONE, { key, generation, dirKey: 0, name: '' }, this.#places.get(key)))
    this.#places.delete(key)
  }

  /** The recorded places of the object, newest first: at most two, because a rename records the new place before it happens. */
  async find(key: number): Promise<HandleRecord[]> {
    for (;;) {
      const { rewrites } = this.#log
      const found = await this.#find(key)
      // Otherwise the log was rewritten meanwhile, and the offsets have changed.
      if (this.#log.rewrites === rewrites) return found
    }
  }

  async #find(key: number): Promise<HandleRecord[]> {
    const at = this.#places.get(key)
    if (at === 0) return []
    const last = await this.#read(at)
    if (!last) return []
    const before = last.previous > 0 ? await this.#read(last.previous) : undefined
    return before && before.key === key ? [last, before] : [last]
  }

  /**
   * Resolves when everything recorded so far is in the file (safe against the death of the process, not against power loss: see `sync`);
   * undefined if it is already.
   *
   * @throws the error of a failed write; later records are written again
   */
  flushed(): Promise<void> | undefined {
    return this.#log.flushed()
  }

  /** Whether a power loss could lose recorded places. */
  get undurable(): boolean {
    return this.#noted > this.#durable
  }

  /** Makes the log durable. */
  async sync(): Promise<void> {
    const noted = this.#noted
    await this.#log.sync()
    this.#durable = Math.max(this.#durable, noted)
  }

  /** Starts writing the log to the disk. */
  async startWriting(): Promise<void> {
    await this.#log.startWriting()
  }

  /** Whether more than half of a large log is obsolete, so that it should be rewritten. */
  get wantsCompaction(): boolean {
    return this.#log.end > COMPACT_FROM_BYTES && this.usage.liveBytes * 2 < this.#log.end
  }

  /** Rewrites the log with the live records, while others continue to append. @throws the error of the disk; the old log stays in use */
  async compact(): Promise<void> {
    const places = new OffsetMap()
    let bytes = 0
    const keep = (record: Buffer, at: number, to: number): Uint8Array | undefined => {
      const { key, generation } = numbersOf(record)
      if (record[KIND_AT] === GONE) {
        // Only records copied since the rewriting began must be undone.
        if (!isAt(places, key, generation)) return undefined
        places.delete(key)
        return record
      }
      if (this.#places.get(key) !== at) return undefined
      const previous = isAt(places, key, generation) ? places.get(key) : 0
      places.set(key, to, generation)
      bytes += FRAME_BYTES + record.length
      return withPrevious(record, previous)
    }
    await this.#log.compact(keep, () => {
      this.#places = places
      this.#placeBytes = bytes
      this.#placeCount = places.size
    })
  }

  async #read(at: number): Promise<Logged | undefined> {
    const record = await this.#log.read(at)
    return record && decode(record)
  }
}

function isAt(places: OffsetMap, key: number, generation: number): boolean {
  return places.get(key) > 0 && places.tag(key) === generation
}

/** Encodes a record in a buffer that the next one reuses. */
function encode(kind: number, { key, generation, dirKey, name }: HandleRecord, previous: number): Uint8Array {
  const length = FIXED_BYTES + name.length
  if (making.length < length) making = Buffer.allocUnsafeSlow(length)
  making.writeDoubleLE(key, 0)
  making.writeDoubleLE(dirKey, 8)
  making.writeDoubleLE(previous, 16)
  making.writeUInt32LE(generation, GENERATION_AT)
  making[KIND_AT] = kind
  making.write(name, FIXED_BYTES, 'latin1')
  return making.subarray(0, length)
}

function withPrevious(record: Uint8Array, previous: number): Uint8Array {
  const copy = Buffer.from(record)
  copy.writeDoubleLE(previous, 16)
  return copy
}

function numbersOf(record: Buffer): { key: number; generation: number } {
  return { key: record.readDoubleLE(0), generation: record.readUInt32LE(GENERATION_AT) }
}

function decode(record: Buffer): Logged {
  return {
    ...numbersOf(record),
    dirKey: record.readDoubleLE(8),
    previous: record.readDoubleLE(16),
    name: record.toString('latin1', FIXED_BYTES),
  }
}
