import type { RpcCall } from './call.ts'
import type { CallDigest } from './call-digest.ts'
import { MAX_KEPT_REPLY_BYTES } from './constants.ts'
import { Interruption } from './interruption.ts'
import { KEEP_OF_EARLIER_MS, type KeptCall, OF_SESSION, type ReplyStore, type SlotOwner } from './reply-store.ts'

/** Limits of the cache. An entry takes about 500 bytes. */
export interface DuplicateLimits {
  /** Calls cached per client: more than a client commonly has in progress. */
  readonly perClient: number
  /** Calls cached for all clients together; beyond that, clients without a connection are dropped first. */
  readonly total: number
  /** The number that a connected client may have even beyond the total. */
  readonly assured: number
}

const LIMITS: DuplicateLimits = { perClient: 1024, total: 32_768, assured: 64 }
/** After this time, clients have long stopped retransmitting (the Linux server keeps replies as long). */
const KEEP_MS = 120_000
/** The bits of the checksum in the key of an entry, which with the xid is a safe integer. */
const KEY_CHECKSUM = 0x20_0000

/** A call and its reply, once there is one. */
export class DuplicateEntry implements SlotOwner {
  xid = 0
  checksum = 0
  /** In ms of the injected clock. */
  forgetAtMs = 0
  /** Whether the call is running. */
  running = true
  /** Set until the client retransmits a call that an earlier process may have executed. */
  interrupted: KeptCall | undefined
  /** The slot of the call in the reply store; -1 if it has none. */
  slot = -1
  /** Stores the reply for the next process too. */
  store: ReplyStore | undefined
  /** The size of the reply; 0 if it was too long to be cached. */
  replyBytes = 0
  #reply: Uint8Array | undefined
  #waiting: ((reply: Uint8Array | undefined) => void)[] = []

  /** Stores the complete reply of `call` and resumes retransmissions that wait for it. */
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

  /** Stores a reply in memory. */
  keep(reply: Uint8Array): void {
    this.#reply ??= new Uint8Array(MAX_KEPT_REPLY_BYTES)
    this.#reply.set(reply)
    this.replyBytes = reply.length
  }

  /** The reply, once the call is done; undefined if it was too long to be cached. */
  wait(): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** The cached reply; valid until the entry is reused. */
  get reply(): Uint8Array | undefined {
    return this.replyBytes === 0 ? undefined : this.#reply?.subarray(0, this.replyBytes)
  }
}

/** The recent non-idempotent calls of one client on all of its connections, in a ring that grows up to a limit. */
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

  /** The number of cached calls. */
  get size(): number {
    return this.#ring.length
  }

  /** Computes the checksums. */
  get digest(): CallDigest {
    return this.#cache.digest
  }

  /** The entry of an earlier transmission of this call; undefined if it is new. */
  find(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry | undefined {
    const entry = this.#byKey.get(keyOf(call.xid, checksum))
    if (entry === undefined || entry.checksum !== checksum) return undefined
    return !entry.running && nowMs > entry.forgetAtMs ? undefined : entry
  }

  /** Adds a new running call; if the ring is full, the oldest finished one is dropped. */
  add(call: RpcCall, checksum: number, nowMs: number): DuplicateEntry {
    return this.#enter(call.xid, checksum, nowMs + KEEP_MS)
  }

  /** Like `add`, for a call with the argument checksum `argsChecksum` that must also be stored for the next process. */
  addOutliving(call: RpcCall, checksum: number, argsChecksum: number, nowMs: number): DuplicateEntry {
    const entry = this.add(call, checksum, nowMs)
    const store = this.#cache.store
    if (store === undefined) return entry
    store.begin(entry, { address: this.address, xid: call.xid, checksum, argsChecksum })
    entry.store = store
    return entry
  }

  /** Adds a call that an earlier process left. */
  restore(kept: KeptCall, store: ReplyStore, nowMs: number): void {
    const entry = this.#enter(kept.xid, kept.checksum, nowMs + KEEP_OF_EARLIER_MS)
    store.release(entry)
    store.adopt(kept.slot, entry)
    entry.store = store
    entry.running = false
    if (kept.reply === undefined) entry.interrupted = kept
    else entry.keep(kept.reply)
  }

  /** Prepares to run a retransmitted call again that an earlier process may have executed, with the known facts about it. */
  resume(entry: DuplicateEntry, kept: KeptCall): Interruption | undefined {
    entry.interrupted = undefined
    entry.running = true
    return entry.store && new Interruption(kept, entry.store)
  }

  /** Releases resources. Call it before the client is dropped. */
  forget(): void {
    for (const entry of this.#ring) this.#cache.store?.release(entry)
  }

  /** Called when the client has closed a connection. */
  disconnected(): void {
    this.connections--
    if (this.connections === 0 && this.#ring.length === 0) this.#cache.drop(this)
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
        // A running call is kept regardless of its age, or it would be executed twice.
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
 * The duplicate request cache: a client that got no reply retransmits the call with the same transaction id, often over a new connection from another port, and
 * must get the first reply instead of, for example, "exists" for its own mkdir. Calls are identified by the client's address, their
 * xid and a keyed checksum of the whole message: program, procedure, credential and arguments with all data. With a `ReplyStore` this also works if the server was
 * killed in between.
 */
export class DuplicateCache {
  readonly digest: CallDigest
  /** The store of calls for the next process. */
  readonly store: ReplyStore | undefined
  readonly #limits: DuplicateLimits
  readonly #clients = new Map<string, ClientDuplicates>()
  #total = 0

  /** Loads the calls in `store`; `nowMs` is the time of the injected clock. */
  constructor(digest: CallDigest, limits: DuplicateLimits = LIMITS, store?: ReplyStore, nowMs = 0) {
    this.digest = digest
    this.#limits = limits
    this.store = store
    if (store === undefined) return
    for (const kept of store.earlier) {
      if (!kept.address.startsWith(OF_SESSION)) this.#client(kept.address).restore(kept, store, nowMs)
    }
  }

  /** The cache of a client that opens a connection; the caller reports when that is closed. */
  connected(address: string): ClientDuplicates {
    const client = this.#client(address)
    client.connections++
    return client
  }

  /** Whether a client may cache another call without dropping one of its own. */
  mayGrow(client: ClientDuplicates): boolean {
    const { perClient, total, assured } = this.#limits
    if (client.size >= perClient) return false
    if (this.#total >= total) this.#forgetOne()
    return this.#total < total || client.size < assured
  }

  /** Counts another cached call of a client. */
  grown(): void {
    this.#total++
  }

  /** Drops a client that has neither a connection nor a cached call: otherwise every address ever seen would stay in memory. */
  drop({ address }: ClientDuplicates): void {
    this.#clients.delete(address)
  }

  #client(address: string): ClientDuplicates {
    const client = this.#clients.get(address) ?? new ClientDuplicates(this, address)
    // The map is ordered by last connection.
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
