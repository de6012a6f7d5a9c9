import type { RpcCall } from './call.ts'
import type { CallDigest } from './call-digest.ts'
import { MAX_KEPT_REPLY_BYTES } from './constants.ts'
import { Interruption } from './interruption.ts'
import { KEEP_OF_EARLIER_MS, type KeptCall, type ReplyStore, type SlotOwner } from './reply-store.ts'

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
/** A client has long given up asking again after this time (the Linux server keeps replies as long). */
const KEEP_MS = 120_000
/** How much of the checksum is in the key of an entry, which together with the xid is a safe integer. */
const KEY_CHECKSUM = 0x20_0000

/** A call that was taken on, and its reply once there is one. */
export class DuplicateEntry implements SlotOwner {
  xid = 0
  checksum = 0
  /** In ms of the clock that is handed in. */
  forgetAtMs = 0
  /** True while the call runs. */
  running = true
  /** Set while nobody has asked again for a call that an earlier process may have done. */
  interrupted: KeptCall | undefined
  /** Where the call is kept for the next process; -1: nowhere. */
  slot = -1
  /** Keeps the reply for the next process too. */
  store: ReplyStore | undefined
  /** Bytes of the reply; 0 when it was too long to be kept. */
  replyBytes = 0
  #reply: Uint8Array | undefined
  #waiting: ((reply: Uint8Array | undefined) => void)[] = []

  /** Keeps the reply of `call`, which is complete, and lets those go on who wait for it. */
  complete(call: RpcCall): void {
    const reply = call.replyBytes()
    if (reply.length <= MAX_KEPT_REPLY_BYTES) {
      this.keep(reply)
      this.store?.complete(this, reply)
    }
    this.running = false
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    const copy = this.reply?.slice()
    for (const go of waiting) go(copy)
  }

  /** Keeps a reply in memory. */
  keep(reply: Uint8Array): void {
    this.#reply ??= new Uint8Array(MAX_KEPT_REPLY_BYTES)
    this.#reply.set(reply)
    this.replyBytes = reply.length
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
  readonly address: string
  readonly #byKey = new Map<number, DuplicateEntry>()
  readonly #ring: DuplicateEntry[] = []
  readonly #cache: DuplicateCache
  #next = 0

  constructor(cache: DuplicateCache, address: string) {
    this.#cache = cache
    this.address = address
  }

  /** Calls remembered. */
  get size(): number {
    return this.#ring.length
  }

  /** What makes the checksums. */
  get digest(): CallDigest {
    return this.#cache.digest
  }

  /** The entry of the same call seen before, undefined when this one is new. */
  find(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry | undefined {
    const entry = this.#byKey.get(keyOf(call.xid, checksum))
    if (entry === undefined || entry.checksum !== checksum) return undefined
    return !entry.running && nowMs > entry.forgetAtMs ? undefined : entry
  }

  /** Notes a new call as running; the oldest one that is done is forgotten when the ring is full. */
  add(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry {
    return this.#enter(call.xid, checksum, nowMs + KEEP_MS)
  }

  /** As `add`, for a call whose arguments have the checksum `argsChecksum` and that the next process has to know as well. */
  addOutliving(call: RpcCall, checksum: number, argsChecksum: number, nowMs: number): DuplicateEntry {
    const entry = this.add(call, checksum, nowMs)
    const store = this.#cache.store
    if (store === undefined) return entry
    store.begin(entry, { address: this.address, xid: call.xid, checksum, argsChecksum })
    entry.store = store
    return entry
  }

  /** Takes on what an earlier process has left. */
  restore(kept: KeptCall, store: ReplyStore, nowMs: number): void {
    const entry = this.#enter(kept.xid, kept.checksum, nowMs + KEEP_OF_EARLIER_MS)
    store.release(entry)
    store.adopt(kept.slot, entry)
    entry.store = store
    entry.running = false
    if (kept.reply === undefined) entry.interrupted = kept
    else entry.keep(kept.reply)
  }

  /** The client asks again for a call that an earlier process may have done: it is run again, with what is known of it. */
  resume(entry: DuplicateEntry, kept: KeptCall): Interruption | undefined {
    entry.interrupted = undefined
    entry.running = true
    return entry.store && new Interruption(kept, entry.store)
  }

  /** To be called before the client is forgotten. */
  forget(): void {
    for (const entry of this.#ring) this.#cache.store?.release(entry)
  }

  /** The client has closed a connection. */
  disconnected(): void {
    this.connections--
  }

  #enter(xid: number, checksum: number, forgetAtMs: number): DuplicateEntry {
    const entry = this.#freeEntry()
    entry.xid = xid
    entry.checksum = checksum
    entry.forgetAtMs = forgetAtMs
    entry.running = true
    entry.interrupted = undefined
    entry.store = undefined
    entry.replyBytes = 0
    this.#byKey.set(keyOf(xid, checksum), entry)
    return entry
  }

  #freeEntry(): DuplicateEntry {
    if (!this.#cache.mayGrow(this)) {
      for (let tried = 0; tried < this.#ring.length; tried++) {
        const old = this.#ring[this.#next]
        this.#next = (this.#next + 1) % this.#ring.length
        // A call that still runs is remembered whatever its age: it would be run twice.
        if (old.running) continue
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
 * xid and a checksum, by a secret, of the whole message: program, procedure, credential and arguments with all data. With a `ReplyStore` the answer comes also when the server was
 * killed in between.
 */
export class DuplicateCache {
  readonly digest: CallDigest
  /** Where calls are kept for the next process. */
  readonly store: ReplyStore | undefined
  readonly #limits: DuplicateLimits
  readonly #clients = new Map<string, ClientDuplicates>()
  #total = 0

  /** What `store` has kept is remembered from the start; `nowMs` is the time by the clock that is handed in. */
  constructor(digest: CallDigest, limits: DuplicateLimits = LIMITS, store?: ReplyStore, nowMs = 0) {
    this.digest = digest
    this.#limits = limits
    this.store = store
    if (store === undefined) return
    for (const kept of store.earlier) this.#client(kept.address).restore(kept, store, nowMs)
  }

  /** Calls remembered of all clients. */
  get size(): number {
    return this.#total
  }

  /** The part of a client that opens a connection; it tells when that is closed. */
  connected(address: string): ClientDuplicates {
    const client = this.#client(address)
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

  #client(address: string): ClientDuplicates {
    const client = this.#clients.get(address) ?? new ClientDuplicates(this, address)
    // The map is in order of the last connection.
    this.#clients.delete(address)
    this.#clients.set(address, client)
    return client
  }

  #forgetOne(): void {
    for (const [address, client] of this.#clients) {
      if (client.connections > 0) continue
      this.#clients.delete(address)
      this.#total -= client.size
      client.forget()
      return
    }
  }
}

function keyOf(xid: number, checksum: number): number {
  return xid * KEY_CHECKSUM + (checksum % KEY_CHECKSUM)
}
