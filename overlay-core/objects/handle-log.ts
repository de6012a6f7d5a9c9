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

/** A record in the log, and where the one before it of the same object starts (0: nowhere). */
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

// Where records are made before the log copies them.
let making = Buffer.allocUnsafeSlow(1024)

/**
 * The memory of all identities that were ever given to clients: a log on disk, and in memory per object only the place of its last record and the
 * object's generation (a hash table). `flushed` tells when what was noted survives the death of the process.
 */
export class HandleLog {
  readonly #log: RecordLog
  #places: OffsetMap
  /** Of all records of places ever appended: to estimate what is alive. */
  #placeBytes = 0
  #placeCount = 0
  /** Places noted since the log was opened, and how many of them are known to be durable. */
  #noted = 0
  #durable = 0

  private constructor(log: RecordLog, places: OffsetMap) {
    this.#log = log
    this.#places = places
  }

  /** Reads the log in `file`, which may be empty and is the caller's. */
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

  /** Bytes of the log, and about how many of them are in use. */
  get usage(): { bytes: number; liveBytes: number } {
    const average = this.#placeCount === 0 ? 0 : this.#placeBytes / this.#placeCount
    return { bytes: this.#log.end, liveBytes: Math.round(this.#places.size * average) }
  }

  has(key: number, generation: number): boolean {
    return isAt(this.#places, key, generation)
  }

  /**
   * Notes where an object is, or is about to be; the place before stays readable as the second answer of `find`. While the disk takes nothing
   * and too much waits for it, nothing is noted: such an object is not found again, where another stands is never taken for it.
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

  /** The object is gone for good. Another one, that was given its key since, stays. */
  remove(key: number, generation: number): void {
    if (!this.has(key, generation)) return
    this.#log.append(encode(GONE, { key, generation, dirKey: 0, name: '' }, this.#places.get(key)))
    this.#places.delete(key)
  }

  /** Where the object was last noted, newest first: at most two places, as a rename notes the new one before it happens. */
  async find(key: number): Promise<HandleRecord[]> {
    for (;;) {
      const { rewrites } = this.#log
      const found = await this.#find(key)
      // Meanwhile the log was rewritten, and the places in it are others.
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
   * Resolves when everything noted so far is in the file (safe against the death of the process, not against power loss: see `sync`);
   * undefined when it already is.
   *
   * @throws the error of a write that failed; later records are tried again
   */
  flushed(): Promise<void> | undefined {
    return this.#log.flushed()
  }

  /** Whether places were noted that a power loss could take away. */
  get undurable(): boolean {
    return this.#noted > this.#durable
  }

  /** Makes the log durable. */
  async sync(): Promise<void> {
    const noted = this.#noted
    await this.#log.sync()
    this.#durable = Math.max(this.#durable, noted)
  }

  /** Sends the log on its way to the disk. */
  async startWriting(): Promise<void> {
    await this.#log.startWriting()
  }

  /** Whether more than half of a large log is dead, and it should be rewritten. */
  get wantsCompaction(): boolean {
    return this.#log.end > COMPACT_FROM_BYTES && this.usage.liveBytes * 2 < this.#log.end
  }

  /** Rewrites the log with what is alive, while others go on noting. @throws the error of the disk: the log goes on as it was */
  async compact(): Promise<void> {
    const places = new OffsetMap()
    let bytes = 0
    const keep = (record: Buffer, at: number, to: number): Uint8Array | undefined => {
      const { key, generation } = numbersOf(record)
      if (record[KIND_AT] === GONE) {
        // Only what has come over since the rewriting began has to be taken back.
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

/** The record, in memory that the next one is made in. */
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
