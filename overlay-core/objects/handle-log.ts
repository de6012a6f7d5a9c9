import { crc32 } from 'node:zlib'
import type { Name } from '../api/types.ts'
import { OffsetMap } from '../base/offset-map.ts'
import { truncateFd } from '../sys/attr.ts'
import { fsync, pread, pwrite, startWriting } from '../sys/data.ts'

/** Where an object with an identity is found: a name in a directory, which has an identity itself. */
export interface HandleRecord {
  readonly key: number
  readonly generation: number
  readonly dirKey: number
  readonly name: Name
}

/** A record in the log: where it starts, and where the one before it of the same object does (0: nowhere). */
interface Logged extends HandleRecord {
  readonly previous: number
}

/** `OVLHND01`, the first 8 bytes of a log. */
const MAGIC = Buffer.from('OVLHND01')
/** crc32 · name length (16 bits) · kind (8) · 0 (8) · key · generation (32) · directory key · previous offset, all little endian. */
const HEADER_BYTES = 36
const PLACE = 1
const GONE = 2
const CHUNK_BYTES = 1024 * 1024
/** Read at a time while the server runs: a thousand records, or some milliseconds. */
const COPY_BYTES = 64 * 1024
/** While the disk takes nothing so much waits for it, at most. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024
/** A log below this size is never rewritten. */
const COMPACT_FROM_BYTES = 1024 * 1024

/**
 * The memory of all identities that were ever given to clients: an append-only log on disk, and in memory per object only the place of its
 * last record and the object's generation (a hash table). Appends are collected and written together; `flushed` tells when. What was written before the
 * process was killed is there at the next start; a torn record at the end is cut off.
 */
export class HandleLog {
  readonly #fd: number
  #places = new OffsetMap()
  #end = MAGIC.length
  /** Of all records of places ever appended: to estimate what is alive. */
  #placeBytes = 0
  #placeCount = 0
  #pending: Buffer[] = []
  #pendingBytes = 0
  readonly #unwritten = new Map<number, Logged>()
  #writing: Promise<void> | undefined
  #failure: unknown
  #successor: Promise<void> | undefined
  /** Searches and fsyncs that use the file. */
  readonly #using = new Set<Promise<unknown>>()
  /** Up to here there are records of places, and up to here the log is known to be durable. */
  #placesEnd = 0
  #durableEnd = 0

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** Reads the log in `fd` (a file open for reading and writing, owned by the caller), which may be empty. */
  static async open(fd: number, sizeBytes: number): Promise<HandleLog> {
    const log = new HandleLog(fd)
    const start = Buffer.alloc(MAGIC.length)
    const read = await pread(fd, start, 0, MAGIC.length, 0)
    if (read === MAGIC.length && start.equals(MAGIC)) await log.#replay(sizeBytes)
    else {
      if (sizeBytes > 0) await truncateFd(fd, 0)
      // Goes out with the first records, whenever there is room.
      log.#pending.push(MAGIC)
      log.#pendingBytes = MAGIC.length
    }
    return log
  }

  /** Objects known. */
  get size(): number {
    return this.#places.size
  }

  /** Bytes of the log, and about how many of them are in use. */
  get usage(): { bytes: number; liveBytes: number } {
    const average = this.#placeCount === 0 ? 0 : this.#placeBytes / this.#placeCount
    return { bytes: this.#end, liveBytes: Math.round(this.#places.size * average) }
  }

  has(key: number, generation: number): boolean {
    return this.#places.get(key) > 0 && this.#places.tag(key) === generation
  }

  /**
   * Notes where an object is, or is about to be; the place before stays readable as the second answer of `find`. While the disk takes nothing
   * and too much waits for it, nothing is noted: such an object is not found again, where another stands is never taken for it.
   */
  put(record: HandleRecord): void {
    if (this.#overflows) return
    const previous = this.has(record.key, record.generation) ? this.#places.get(record.key) : 0
    const at = this.#append(PLACE, { ...record, previous })
    this.#count(record)
    this.#places.set(record.key, at, record.generation)
    this.#placesEnd = this.#end
  }

  /** The object is gone for good. Another one, that was given its key since, stays. */
  remove(key: number, generation: number): void {
    if (!this.has(key, generation)) return
    const previous = this.#places.get(key)
    if (!this.#overflows) this.#append(GONE, { key, generation, dirKey: 0, name: '', previous })
    this.#places.delete(key)
  }

  /** Where the object was last noted, newest first: at most two places, as a rename notes the new one before it happens. */
  find(key: number): Promise<HandleRecord[]> {
    return this.#whileUsed(this.#find(key))
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
    if (this.#pending.length === 0) return this.#writing
    return (this.#writing ?? Promise.resolve()).then(() => this.#flush())
  }

  /** Whether places were noted that a power loss could take away. */
  get undurable(): boolean {
    return this.#placesEnd > this.#durableEnd
  }

  /** Makes the log durable. */
  async sync(): Promise<void> {
    const end = this.#end
    await this.flushed()
    if (this.#successor) return await this.#successor
    await this.#whileUsed(fsync(this.#fd))
    this.#durableEnd = Math.max(this.#durableEnd, end)
  }

  /** Sends the log on its way to the disk. */
  async startWriting(): Promise<void> {
    await this.flushed()
    if (!this.#successor) await this.#whileUsed(startWriting(this.#fd))
  }

  /** Whether more than half of a large log is dead: then the owner should `copyTo` a fresh file. */
  get wantsCompaction(): boolean {
    return this.#end > COMPACT_FROM_BYTES && this.usage.liveBytes * 2 < this.#end
  }

  /** Writes what is alive to a new log in `fd` (empty) and returns that. What is noted here meanwhile may be in it or not. */
  async copyTo(fd: number): Promise<HandleLog> {
    await this.flushed()
    const fresh = await HandleLog.open(fd, 0)
    const end = this.#end - this.#pendingBytes
    const buffer = Buffer.alloc(COPY_BYTES)
    for (let position = MAGIC.length; position < end; ) {
      const read = await pread(this.#fd, buffer, 0, Math.min(COPY_BYTES, end - position), position)
      const taken = eachRecord(buffer, read, (kind, record, at) => {
        if (kind === PLACE && this.#places.get(record.key) === position + at) fresh.put(record)
      })
      if (taken === 0) break
      position += taken
      await fresh.flushed()
    }
    await fresh.sync()
    return fresh
  }

  /**
   * Ends the log, so that its file may be closed: nothing is written to it any more, and who waits for `flushed` waits for `successor` from now on.
   * Resolves when nothing of it uses the file.
   */
  async retire(successor: Promise<void>): Promise<void> {
    this.#successor = successor
    await Promise.allSettled([this.#writing, ...this.#using])
  }

  #whileUsed<T>(work: Promise<T>): Promise<T> {
    this.#using.add(work)
    return work.finally(() => this.#using.delete(work))
  }

  get #overflows(): boolean {
    return this.#failure !== undefined && this.#pendingBytes >= MOST_WAITING_BYTES
  }

  #append(kind: number, record: Logged): number {
    const at = this.#end
    const bytes = encode(kind, record)
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    this.#end += bytes.length
    if (kind === PLACE) this.#unwritten.set(at, record)
    return at
  }

  async #flush(): Promise<void> {
    if (this.#successor) return await this.#successor
    if (this.#writing) return await this.#writing
    if (this.#pending.length === 0) return
    const batch = Buffer.concat(this.#pending)
    const start = this.#end - this.#pendingBytes
    this.#pending = []
    this.#pendingBytes = 0
    this.#writing = this.#write(batch, start).finally(() => {
      this.#writing = undefined
    })
    await this.#writing
  }

  async #write(batch: Buffer, start: number): Promise<void> {
    try {
      await pwrite(this.#fd, batch, start)
    } catch (error) {
      // Kept in memory, and written again before what follows: the file must have no gap.
      this.#pending.unshift(batch)
      this.#pendingBytes += batch.length
      this.#failure = error
      throw error
    }
    this.#failure = undefined
    for (const at of this.#unwritten.keys()) if (at < start + batch.length) this.#unwritten.delete(at)
  }

  /** Why the log cannot be written at present, if so. */
  get failure(): unknown {
    return this.#failure
  }

  async #read(at: number): Promise<Logged | undefined> {
    const fresh = this.#unwritten.get(at)
    if (fresh) return fresh
    const buffer = Buffer.alloc(HEADER_BYTES + 255)
    const read = await pread(this.#fd, buffer, 0, buffer.length, at)
    return decode(buffer, 0, read)?.record
  }

  async #replay(sizeBytes: number): Promise<void> {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    let position = MAGIC.length
    for (;;) {
      const read = await pread(this.#fd, buffer, 0, Math.min(CHUNK_BYTES, sizeBytes - position), position)
      const taken = eachRecord(buffer, read, (kind, record, at) => this.#take(kind, record, position + at))
      if (taken === 0) break
      position += taken
    }
    this.#end = position
    if (position < sizeBytes) await truncateFd(this.#fd, position)
  }

  #take(kind: number, record: Logged, at: number): void {
    if (kind === GONE) {
      if (this.has(record.key, record.generation)) this.#places.delete(record.key)
    } else {
      this.#count(record)
      this.#places.set(record.key, at, record.generation)
    }
  }

  #count(record: HandleRecord): void {
    this.#placeBytes += HEADER_BYTES + record.name.length
    this.#placeCount++
  }
}

function encode(kind: number, record: Logged): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + record.name.length)
  bytes.writeUInt16LE(record.name.length, 4)
  bytes.writeUInt16LE(kind, 6)
  bytes.writeDoubleLE(record.key, 8)
  bytes.writeUInt32LE(record.generation, 16)
  bytes.writeDoubleLE(record.dirKey, 20)
  bytes.writeDoubleLE(record.previous, 28)
  bytes.write(record.name, HEADER_BYTES, 'latin1')
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0)
  return bytes
}

/** Hands the whole records at the start of `buffer`, of which `end` bytes are filled, on; returns how many bytes they take. */
function eachRecord(buffer: Buffer, end: number, take: (kind: number, record: Logged, at: number) => void): number {
  for (let at = 0; ; ) {
    const decoded = decode(buffer, at, end)
    if (!decoded) return at
    take(decoded.kind, decoded.record, at)
    at += decoded.bytes
  }
}

function decode(buffer: Buffer, at: number, end: number): { kind: number; record: Logged; bytes: number } | undefined {
  if (at + HEADER_BYTES > end) return undefined
  const bytes = HEADER_BYTES + buffer.readUInt16LE(at + 4)
  if (at + bytes > end || crc32(buffer.subarray(at + 4, at + bytes)) !== buffer.readUInt32LE(at)) return undefined
  const record = {
    key: buffer.readDoubleLE(at + 8),
    generation: buffer.readUInt32LE(at + 16),
    dirKey: buffer.readDoubleLE(at + 20),
    previous: buffer.readDoubleLE(at + 28),
    name: buffer.toString('latin1', at + HEADER_BYTES, at + bytes),
  }
  return { kind: buffer.readUInt16LE(at + 6), record, bytes }
}
