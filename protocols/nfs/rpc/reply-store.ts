import { crc32 } from 'node:zlib'
import { DIGEST_KEY_BYTES } from './call-digest.ts'
import { MAX_KEPT_REPLY_BYTES } from './constants.ts'

/** Memory that survives the process; see `PersistentMemory` of the core. */
export interface ReplyMemory {
  /** Of `REPLY_MEMORY_BYTES`; all zero at first. */
  readonly bytes: Uint8Array
  changed(offset: number, length: number): void
}

/** The identification of a call. */
export interface CallIdentity {
  /** The client. */
  readonly address: string
  readonly xid: number
  /** The checksum of the whole message with the secret of the store. */
  readonly checksum: number
  /** The checksum of the arguments, which is equal for equal requests from any sender. */
  readonly argsChecksum: number
}

/** A call from an earlier process, found in the memory. */
export interface KeptCall extends CallIdentity {
  readonly slot: number
  /** When it was started, in ms of the time of day. */
  readonly startedMs: number
  /** Orders the starts and ends of all calls. */
  readonly startedAt: number
  /** 0 if the process died before the reply was complete; the change may have been made. */
  readonly endedAt: number
  readonly reply: Uint8Array | undefined
}

/** The owner of a slot. */
export interface SlotOwner {
  /** -1 for none. */
  slot: number
  readonly running: boolean
}

/** The address of a request of version 4 begins with this, and continues with a digest of its client's name. It has no transaction id, and no reply is kept. */
export const OF_SESSION = 'v4:'

const MAGIC = Buffer.from('OVLRPL02')
/** The magic numbers of versions with unkeyed checksums. */
const OLD_MAGIC = Buffer.from('OVLRPL01')
/** The secret of the checksums follows the magic number. */
const KEY_AT = MAGIC.length
const SLOTS = 8192
/**
 * A slot, all little endian: crc32 of the call (32 bits) · xid (32) · checksum (float) · checksum of the arguments (float) · time of day (float) ·
 * number of its start (float) · length of the address (8) · address; then at 96: crc32 of the end (32) · length of the reply (32) · number of its end
 * (float) · reply.
 */
const SLOT_BYTES = 448
const ADDRESS_AT = 41
const LENGTH_AT = ADDRESS_AT - 1
const END_AT = 96
const REPLY_AT = END_AT + 16
const MAX_ADDRESS_BYTES = END_AT - ADDRESS_AT
/** Clients retransmit to an unreachable server for long: Linux at least every five minutes. */
export const KEEP_OF_EARLIER_MS = 15 * 60_000
/** Older files are ignored, because transaction ids repeat. */
const MAX_DOWN_MS = 24 * 60 * 60_000

/** The size of a `ReplyMemory`. */
export const REPLY_MEMORY_BYTES = SLOT_BYTES * (1 + SLOTS)

/** Whether `bytes` are a new memory or one written by this version. */
export function isReplyMemory(bytes: Uint8Array): boolean {
  const start = bytes.subarray(0, MAGIC.length)
  return (
    bytes.length === REPLY_MEMORY_BYTES &&
    (MAGIC.equals(start) || OLD_MAGIC.equals(start) || start.every((byte) => byte === 0))
  )
}

/**
 * The part of the duplicate request cache that survives the process: for each non-idempotent call the fact that it was started (before it runs),
 * and its reply (before that is sent). Torn or damaged parts are ignored.
 */
export class ReplyStore {
  /** The secret of the checksums, of `DIGEST_KEY_BYTES`, which stays the same for the life of the memory. */
  readonly key: Uint8Array
  /** The calls of earlier processes, in the order in which they were started. */
  readonly earlier: readonly KeptCall[]
  /** When this process started, in ms of the time of day. */
  readonly openedMs: number
  readonly #memory: ReplyMemory
  readonly #view: DataView
  readonly #wallMs: () => number
  readonly #failed: (error: unknown) => void
  readonly #owners: (SlotOwner | undefined)[] = new Array(SLOTS)
  readonly #free: number[] = []
  #next = 0
  #count = 0
  #broken = false

  /** `failed` is called once when nothing can be stored any more. `newKey` is the secret for a memory without one. */
  constructor(memory: ReplyMemory, wallMs: () => number, failed: (error: unknown) => void, newKey: Uint8Array) {
    this.#memory = memory
    this.#wallMs = wallMs
    this.#failed = failed
    this.openedMs = wallMs()
    const { bytes } = memory
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (!MAGIC.equals(bytes.subarray(0, MAGIC.length))) this.#clear(newKey)
    this.key = bytes.slice(KEY_AT, KEY_AT + DIGEST_KEY_BYTES)
    this.earlier = this.#load()
    const known = new Set(this.earlier.map(({ slot }) => slot))
    for (let slot = SLOTS - 1; slot >= 0; slot--) if (!known.has(slot)) this.#free.push(slot)
  }

  /** Assigns the slot of a call of an earlier process to its new owner. */
  adopt(slot: number, owner: SlotOwner): void {
    this.#owners[slot] = owner
    owner.slot = slot
  }

  /** Allows the slot of `owner` to be overwritten. */
  release(owner: SlotOwner): void {
    if (owner.slot < 0) return
    this.#owners[owner.slot] = undefined
    this.#free.push(owner.slot)
    owner.slot = -1
  }

  /** Records that a call is about to run; `owner` gets a slot, unless it has one or none is available. */
  begin(owner: SlotOwner, { address, xid, checksum, argsChecksum }: CallIdentity): void {
    if (address.length > MAX_ADDRESS_BYTES || !this.#take(owner)) return
    const view = this.#view
    const { bytes } = this.#memory
    const at = this.#at(owner.slot)
    view.setUint32(at + END_AT, 0)
    view.setUint32(at + 4, xid, true)
    view.setFloat64(at + 8, checksum, true)
    view.setFloat64(at + 16, argsChecksum, true)
    view.setFloat64(at + 24, this.#wallMs(), true)
    view.setFloat64(at + 32, ++this.#count, true)
    bytes[at + LENGTH_AT] = address.length
    for (let i = 0; i < address.length; i++) bytes[at + ADDRESS_AT + i] = address.charCodeAt(i)
    view.setUint32(at, this.#startCrc(at), true)
    this.#changed(at, REPLY_AT)
  }

  /** Stores the reply to the call in the slot of `owner`; it must be at most `MAX_KEPT_REPLY_BYTES` long. */
  complete({ slot }: SlotOwner, reply: Uint8Array): void {
    if (slot < 0 || this.#broken) return
    const view = this.#view
    const at = this.#at(slot)
    this.#memory.bytes.set(reply, at + REPLY_AT)
    view.setUint32(at + END_AT + 4, reply.length, true)
    view.setFloat64(at + END_AT + 8, ++this.#count, true)
    view.setUint32(at + END_AT, this.#endCrc(at), true)
    this.#changed(at + END_AT, REPLY_AT - END_AT + reply.length)
  }

  /** Every call in the memory, of this process or an earlier one. */
  *calls(): IterableIterator<KeptCall> {
    for (let slot = 0; slot < SLOTS; slot++) {
      const call = this.#read(slot)
      if (call !== undefined) yield call
    }
  }

  /** Initializes a memory that is new or was written by another version. */
  #clear(key: Uint8Array): void {
    const { bytes } = this.#memory
    for (let at = 0; at < bytes.length; at += SLOT_BYTES) bytes.fill(0, at, at + ADDRESS_AT)
    bytes.set(key, KEY_AT)
    bytes.set(MAGIC)
    this.#changed(0, bytes.length)
  }

  #load(): KeptCall[] {
    const calls = [...this.calls()].sort((a, b) => a.startedAt - b.startedAt)
    const last = calls.at(-1)
    if (last === undefined) return calls
    this.#count = Math.max(...calls.map((call) => Math.max(call.startedAt, call.endedAt)))
    if (this.openedMs - last.startedMs > MAX_DOWN_MS) return []
    // Time without a server does not count, because clients could not retransmit.
    return calls.filter(({ startedMs }) => last.startedMs - startedMs <= KEEP_OF_EARLIER_MS)
  }

  /** The call in a slot; undefined if there is no intact one. Its reply is a copy. */
  #read(slot: number): KeptCall | undefined {
    const view = this.#view
    const { bytes } = this.#memory
    const at = this.#at(slot)
    const length = bytes[at + LENGTH_AT] as number
    if (length === 0 || length > MAX_ADDRESS_BYTES || view.getUint32(at, true) !== this.#startCrc(at)) return undefined
    const replyBytes = view.getUint32(at + END_AT + 4, true)
    const ended = replyBytes <= MAX_KEPT_REPLY_BYTES && view.getUint32(at + END_AT, true) === this.#endCrc(at)
    return {
      slot,
      address: Buffer.from(bytes.subarray(at + ADDRESS_AT, at + ADDRESS_AT + length)).toString('latin1'),
      xid: view.getUint32(at + 4, true),
      checksum: view.getFloat64(at + 8, true),
      argsChecksum: view.getFloat64(at + 16, true),
      startedMs: view.getFloat64(at + 24, true),
      startedAt: view.getFloat64(at + 32, true),
      endedAt: ended ? view.getFloat64(at + END_AT + 8, true) : 0,
      reply: ended ? bytes.slice(at + REPLY_AT, at + REPLY_AT + replyBytes) : undefined,
    }
  }

  #at(slot: number): number {
    return SLOT_BYTES * (1 + slot)
  }

  #startCrc(at: number): number {
    const { bytes } = this.#memory
    return crc32(bytes.subarray(at + 4, at + ADDRESS_AT + (bytes[at + LENGTH_AT] as number)))
  }

  /** Seeded with the checksum of the call, so that a reply to an earlier call in this slot is not mistaken for one to this call. */
  #endCrc(at: number): number {
    const length = this.#view.getUint32(at + END_AT + 4, true)
    return crc32(this.#memory.bytes.subarray(at + END_AT + 4, at + REPLY_AT + length), this.#view.getUint32(at, true))
  }

  #take(owner: SlotOwner): boolean {
    if (this.#broken) return false
    if (owner.slot >= 0) return true
    const slot = this.#free.pop() ?? this.#steal()
    if (slot === undefined) return false
    this.adopt(slot, owner)
    return true
  }

  /** Reclaims a slot whose call is finished, because clients may have more calls than there are slots. */
  #steal(): number | undefined {
    for (let tried = 0; tried < SLOTS; tried++) {
      const slot = this.#next
      this.#next = (slot + 1) % SLOTS
      const owner = this.#owners[slot]
      if (owner?.running) continue
      if (owner) owner.slot = -1
      return slot
    }
    return undefined
  }

  #changed(offset: number, length: number): void {
    if (this.#broken) return
    try {
      this.#memory.changed(offset, length)
    } catch (error) {
      this.#broken = true
      this.#failed(error)
    }
  }
}
