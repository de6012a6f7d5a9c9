import type { Name } from '../api/types.ts'
import type { LogFile } from '../base/log-file.ts'
import { loopBudget } from '../base/loop-turn.ts'
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
const DIR_KEY_AT = 8
const DIR_KEY_END = 16
const GENERATION_AT = 24
const KIND_AT = 28
const PLACE = 1
const GONE = 2
/** Records after this one are of other layers than those before it. */
const LAYERS_CHANGED = 3
/** A log below this size is not rewritten. */
const COMPACT_FROM_BYTES = 1024 * 1024
/** The same for a log whose records are in another one by now. */
const COMPACT_MOVED_FROM_BYTES = 16 * 1024
/** Records that nobody has confirmed since this many changes of the layers are dropped, */
const MOST_CHANGES = 8
/** if they take more space than this. */
const MOST_OLD_BYTES = 16 * 1024 * 1024

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
  /** The offsets of the latest records of changed layers, oldest first. */
  #changes: number[] = []
  /** An estimate of the known objects that were not confirmed since the oldest of `#changes`. */
  #old = 0
  /** The offsets of records that were left to another log, since the last rewriting began. */
  #left = new Set<number>()

  private constructor(log: RecordLog, places: OffsetMap) {
    this.#log = log
    this.#places = places
  }

  /** Reads the log in `file`, which may be empty and belongs to the caller. */
  static async open(file: LogFile): Promise<HandleLog> {
    const places = new OffsetMap()
    const changes: number[] = []
    let bytes = 0
    let count = 0
    const log = await RecordLog.open(file, FORMAT, (record, at) => {
      const { key, generation } = numbersOf(record)
      if (record[KIND_AT] === LAYERS_CHANGED) {
        changes.push(at)
        return
      }
      if (record[KIND_AT] === GONE) {
        if (isAt(places, key, generation)) places.delete(key)
        return
      }
      bytes += FRAME_BYTES + record.length
      count++
      places.set(key, at, generation, digestOfPlace(record))
    })
    const handles = new HandleLog(log, places)
    handles.#placeBytes = bytes
    handles.#placeCount = count
    handles.#changes = changes.slice(-MOST_CHANGES)
    await handles.#countOld()
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
   * Records where an object is or is about to be, unless that is recorded; the previous place remains the second result of `find`. While the disk accepts
   * nothing and too many records wait, nothing is recorded. Such an object is not found again, but is never confused with another one. Returns whether
   * there is a new record.
   */
  put(record: HandleRecord): boolean {
    const { key, generation } = record
    const before = this.#places.get(key)
    const known = this.has(key, generation)
    const bytes = encode(PLACE, record, known ? before : 0)
    const digest = digestOfPlace(bytes)
    // A place of earlier layers is confirmed by another record.
    if (known && before > (this.#changes.at(-1) ?? 0) && this.#places.digest(key) === digest) return false
    const at = this.#log.append(bytes)
    if (at === 0) return false
    this.#placeBytes += FRAME_BYTES + bytes.length
    this.#placeCount++
    if (known) this.#oldLeaves(before)
    this.#places.set(key, at, generation, digest)
    this.#noted++
    return true
  }

  /** Records that objects are from now on found in other layers. */
  layersChanged(): void {
    const at = this.#log.append(encode(LAYERS_CHANGED, { key: 0, generation: 0, dirKey: 0, name: '' }, 0))
    if (at === 0) return
    this.#changes = [...this.#changes, at].slice(-MOST_CHANGES)
    void this.#countOld()
  }

  /** Leaves an object to another log, which has a record of it. This log's record may come back after a restart, until this log is rewritten. */
  leave(key: number, generation: number): void {
    if (!this.has(key, generation)) return
    this.#left.add(this.#places.get(key))
    this.#drop(key)
  }

  /** Records that the object no longer exists. Does nothing if its key belongs to another object by now. */
  remove(key: number, generation: number): void {
    if (!this.has(key, generation)) return
    this.#log.append(encode(GONE, { key, generation, dirKey: 0, name: '' }, this.#places.get(key)))
    this.#drop(key)
  }

  #drop(key: number): void {
    this.#oldLeaves(this.#places.get(key))
    this.#places.delete(key)
  }

  /** The offset before which records are old; 0 while there were few changes. */
  get #oldEnd(): number {
    return this.#changes.length < MOST_CHANGES ? 0 : (this.#changes[0] as number)
  }

  #oldLeaves(at: number): void {
    if (at < this.#oldEnd && this.#old > 0) this.#old--
  }

  async #countOld(): Promise<void> {
    const end = this.#oldEnd
    let old = 0
    if (end > 0)
      for (const key of this.#places.keys()) {
        if (this.#places.get(key) < end) old++
        if (loopBudget.spent) await loopBudget.rest()
      }
    this.#old = old
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

  /** Whether more than half of a large log is obsolete, or much of it is old, so that it should be rewritten. */
  get wantsCompaction(): boolean {
    const from = this.#left.size > 0 ? COMPACT_MOVED_FROM_BYTES : COMPACT_FROM_BYTES
    return (this.#log.end > from && this.usage.liveBytes * 2 < this.#log.end) || this.#hasManyOld
  }

  get #hasManyOld(): boolean {
    return this.#old > 0 && (this.usage.liveBytes / this.#places.size) * this.#old > MOST_OLD_BYTES
  }

  /**
   * Rewrites the log with the live records, while others continue to append.
   *
   * @param settle makes durable what was left to another log so far, whose records are then dropped
   * @throws the error of the disk; the old log stays in use
   */
  async compact(settle: () => Promise<void> = async () => undefined): Promise<void> {
    this.#left = new Set()
    await settle()
    const places = new OffsetMap()
    const changes: number[] = []
    const oldEnd = this.#hasManyOld ? this.#oldEnd : 0
    let bytes = 0
    const keep = (record: Buffer, at: number, to: number): Uint8Array | undefined => {
      const { key, generation } = numbersOf(record)
      if (record[KIND_AT] === LAYERS_CHANGED) {
        if (!this.#changes.includes(at)) return undefined
        changes.push(to)
        return record
      }
      if (record[KIND_AT] === GONE) {
        // Only records copied since the rewriting began must be undone.
        if (!isAt(places, key, generation)) return undefined
        places.delete(key)
        return record
      }
      if (this.#left.has(at)) return withPrevious(record, 0)
      if (this.#places.get(key) !== at || at < oldEnd) return undefined
      const previous = isAt(places, key, generation) ? places.get(key) : 0
      places.set(key, to, generation, digestOfPlace(record))
      bytes += FRAME_BYTES + record.length
      return withPrevious(record, previous)
    }
    await this.#log.compact(keep, () => {
      this.#places = places
      this.#placeBytes = bytes
      this.#placeCount = places.size
      this.#changes = changes.slice(-MOST_CHANGES)
    })
    await this.#countOld()
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

/** A digest of the place in a record (FNV-1a). */
function digestOfPlace(record: Uint8Array): number {
  let digest = 0x811c9dc5
  for (let at = DIR_KEY_AT; at < DIR_KEY_END; at++) digest = Math.imul(digest ^ (record[at] as number), 0x01000193)
  for (let at = FIXED_BYTES; at < record.length; at++) digest = Math.imul(digest ^ (record[at] as number), 0x01000193)
  return digest >>> 0
}
