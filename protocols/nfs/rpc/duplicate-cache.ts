import type { RpcCall } from './call.ts'

/** Replies kept per client; more than a client commonly has under way. */
const ENTRIES_PER_CLIENT = 256
/** Clients remembered; the one not heard of for longest is forgotten first. */
const MAX_CLIENTS = 256
/** Longest reply kept; every non-idempotent reply of NFSv3 is shorter. */
const MAX_REPLY_BYTES = 320
/** A client has long given up asking again after this time (the Linux server keeps replies as long). */
const KEEP_MS = 120_000
/** How much of a call goes into its checksum (as in the Linux server). */
const CHECKSUM_BYTES = 256

/** A call that was taken on, and its reply once there is one. */
export class DuplicateEntry {
  xid = 0
  checksum = 0
  takenAtMs = 0
  /** False while the call runs. */
  done = false
  /** Bytes of the reply; 0 when it was too long to be kept. */
  replyBytes = 0
  #reply: Uint8Array | undefined
  #waiting: ((reply: Uint8Array | undefined) => void)[] = []

  /** Keeps the reply of `call`, which is complete, and lets those go on who wait for it. */
  complete(call: RpcCall): void {
    const reply = call.replyBytes()
    if (reply.length <= MAX_REPLY_BYTES) {
      this.#reply ??= new Uint8Array(MAX_REPLY_BYTES)
      this.#reply.set(reply)
      this.replyBytes = reply.length
    }
    this.done = true
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    const copy = this.reply?.slice()
    for (const go of waiting) go(copy)
  }

  /** The reply, once the call is done; undefined when it was too long to be kept. */
  wait(): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** The reply kept; valid until the entry is used for another call. */
  get reply(): Uint8Array | undefined {
    return this.replyBytes === 0 ? undefined : this.#reply?.subarray(0, this.replyBytes)
  }
}

/** The recent non-idempotent calls of one client, in a ring of fixed size. */
export class ClientDuplicates {
  readonly #byXid = new Map<number, DuplicateEntry>()
  readonly #ring: DuplicateEntry[] = []
  #next = 0

  /** The entry of the same call seen before, undefined when this one is new. */
  find(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry | undefined {
    const entry = this.#byXid.get(call.xid)
    if (entry === undefined || entry.checksum !== checksum) return undefined
    return entry.done && nowMs - entry.takenAtMs > KEEP_MS ? undefined : entry
  }

  /** Notes a new call as running; its oldest predecessor is forgotten when the ring is full. */
  add(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry {
    const old = this.#ring[this.#next]
    if (old !== undefined && this.#byXid.get(old.xid) === old) this.#byXid.delete(old.xid)
    // A call that still runs keeps its entry, for those who wait for it.
    const entry = old?.done ? old : new DuplicateEntry()
    entry.xid = call.xid
    entry.checksum = checksum
    entry.takenAtMs = nowMs
    entry.done = false
    entry.replyBytes = 0
    this.#ring[this.#next] = entry
    this.#next = (this.#next + 1) % ENTRIES_PER_CLIENT
    this.#byXid.set(entry.xid, entry)
    return entry
  }
}

/**
 * The duplicate request cache: a client that lost its connection asks again with the same transaction id, from the same
 * address and port, and must get the first answer instead of, for example, "exists" for its own mkdir.
 */
export class DuplicateCache {
  readonly #clients = new Map<string, ClientDuplicates>()

  /** The part of a client. */
  client(address: string, port: number): ClientDuplicates {
    const key = `${address} ${port}`
    const client = this.#clients.get(key) ?? new ClientDuplicates()
    this.#clients.delete(key)
    this.#clients.set(key, client)
    if (this.#clients.size > MAX_CLIENTS) {
      for (const oldest of this.#clients.keys()) {
        this.#clients.delete(oldest)
        break
      }
    }
    return client
  }
}

/** A checksum of the call whose message lies at `start`…`end`: of its length and its first 256 bytes. */
export function callChecksum(view: DataView, start: number, end: number): number {
  const last = Math.min(end, start + CHECKSUM_BYTES) - 3
  let sum = (end - start) | 0
  for (let at = start; at < last; at += 4) sum = Math.imul(sum ^ view.getInt32(at), 0x0100_0193)
  return sum
}
