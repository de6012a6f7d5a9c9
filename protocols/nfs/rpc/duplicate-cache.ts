import type { RpcCall } from './call.ts'

/** How much is remembered. An entry takes about 500 bytes. */
export interface DuplicateLimits {
  /** Calls remembered per client: more than one commonly has under way. */
  readonly perClient: number
  /** Calls remembered of all clients together; beyond, clients without a connection are forgotten first. */
  readonly total: number
  /** What a connected client may have even beyond the total. */
  readonly assured: number
}

const LIMITS: DuplicateLimits = { perClient: 1024, total: 32_768, assured: 64 }
/** Longest reply kept; every non-idempotent reply of NFSv3 is shorter. */
const MAX_REPLY_BYTES = 320
/** A client has long given up asking again after this time (the Linux server keeps replies as long). */
const KEEP_MS = 120_000
/** How much of a call goes into its checksum: all of it but the data of a long WRITE. */
const CHECKSUM_BYTES = 1024
/** Bits of the checksum in the key of an entry, which together with the xid is a safe integer. */
const KEY_CHECKSUM = 0x20_0000

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

/** The recent non-idempotent calls of one client, over all of its connections: a ring that grows up to a limit. */
export class ClientDuplicates {
  connections = 0
  readonly #byKey = new Map<number, DuplicateEntry>()
  readonly #ring: DuplicateEntry[] = []
  readonly #cache: DuplicateCache
  #next = 0

  constructor(cache: DuplicateCache) {
    this.#cache = cache
  }

  /** Calls remembered. */
  get size(): number {
    return this.#ring.length
  }

  /** The entry of the same call seen before, undefined when this one is new. */
  find(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry | undefined {
    const entry = this.#byKey.get(keyOf(call.xid, checksum))
    if (entry === undefined || entry.checksum !== checksum) return undefined
    return entry.done && nowMs - entry.takenAtMs > KEEP_MS ? undefined : entry
  }

  /** Notes a new call as running; the oldest one that is done is forgotten when the ring is full. */
  add(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry {
    const entry = this.#freeEntry()
    entry.xid = call.xid
    entry.checksum = checksum
    entry.takenAtMs = nowMs
    entry.done = false
    entry.replyBytes = 0
    this.#byKey.set(keyOf(entry.xid, checksum), entry)
    return entry
  }

  /** The client has closed a connection. */
  disconnected(): void {
    this.connections--
  }

  #freeEntry(): DuplicateEntry {
    if (!this.#cache.mayGrow(this)) {
      for (let tried = 0; tried < this.#ring.length; tried++) {
        const old = this.#ring[this.#next]
        this.#next = (this.#next + 1) % this.#ring.length
        // A call that still runs is remembered whatever its age: it would be run twice.
        if (!old.done) continue
        const key = keyOf(old.xid, old.checksum)
        if (this.#byKey.get(key) === old) this.#byKey.delete(key)
        return old
      }
    }
    const entry = new DuplicateEntry()
    this.#ring.push(entry)
    this.#cache.grown()
    return entry
  }
}

/**
 * The duplicate request cache: a client that got no answer asks again with the same transaction id, often over a new connection from another port, and
 * must get the first answer instead of, for example, "exists" for its own mkdir. So calls are known by the client's address, their
 * xid and a checksum of the whole message: program, procedure, credential and arguments.
 */
export class DuplicateCache {
  readonly #limits: DuplicateLimits
  readonly #clients = new Map<string, ClientDuplicates>()
  #total = 0

  constructor(limits: DuplicateLimits = LIMITS) {
    this.#limits = limits
  }

  /** Calls remembered of all clients. */
  get size(): number {
    return this.#total
  }

  /** The part of a client that opens a connection; it tells when that is closed. */
  connected(address: string): ClientDuplicates {
    const client = this.#clients.get(address) ?? new ClientDuplicates(this)
    // The map is in order of the last connection.
    this.#clients.delete(address)
    this.#clients.set(address, client)
    client.connections++
    return client
  }

  /** Whether a client may remember one call more without forgetting one of its own. */
  mayGrow(client: ClientDuplicates): boolean {
    const { perClient, total, assured } = this.#limits
    if (client.size >= perClient) return false
    if (this.#total >= total) this.#forgetOne()
    return this.#total < total || client.size < assured
  }

  /** A client remembers one call more. */
  grown(): void {
    this.#total++
  }

  #forgetOne(): void {
    for (const [address, client] of this.#clients) {
      if (client.connections > 0) continue
      this.#clients.delete(address)
      this.#total -= client.size
      return
    }
  }
}

function keyOf(xid: number, checksum: number): number {
  return xid * KEY_CHECKSUM + (checksum & (KEY_CHECKSUM - 1))
}

/** A checksum of the call whose message lies at `start`…`end`: of its length and its first 1,024 bytes. */
export function callChecksum(view: DataView, start: number, end: number): number {
  const last = Math.min(end, start + CHECKSUM_BYTES) - 3
  let sum = (end - start) | 0
  for (let at = start; at < last; at += 4) sum = Math.imul(sum ^ view.getInt32(at), 0x0100_0193)
  // The multiplication carries upwards only: the low bits, which the key takes, would not see high ones.
  return sum ^ (sum >>> 15)
}
