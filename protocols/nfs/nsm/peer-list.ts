import type { Journal } from '../../../overlay-core/index.ts'

/** A client that has or had locks, and must be notified when the server restarts. */
export interface NsmPeer {
  readonly address: string
  /** Its own name for itself (`caller_name`). */
  readonly name: string
  /** The address by which it knows this server; undefined if unknown. */
  readonly ourAddress: string | undefined
}

/** The maximum number of peers. The oldest is dropped first; its locks would not survive a restart. */
const MAX_PEERS = 4096
/** Per address, because a client can use any number of names. */
const MAX_OF_ADDRESS = 256
/** States are odd while a host is up, and grow with every restart. */
const FIRST_STATE = 1
const LAST_STATE = 0x7fff_ffff

/** Peers by key. The least recently active one is dropped first, from the address of the new one if that has reached its limit. */
class Peers {
  /** The least recently active first. */
  readonly #all = new Map<string, NsmPeer>()
  /** The keys of each address, in the same order. */
  readonly #ofAddress = new Map<string, Set<string>>()

  get size(): number {
    return this.#all.size
  }

  /** The peers, the least recently active first. */
  oldestFirst(): NsmPeer[] {
    return [...this.#all.values()]
  }

  delete(key: string): void {
    const peer = this.#all.get(key)
    if (peer === undefined) return
    this.#all.delete(key)
    const keys = this.#ofAddress.get(peer.address)
    keys?.delete(key)
    if (keys?.size === 0) this.#ofAddress.delete(peer.address)
  }

  /** Adds a peer at the end; returns the key of the peer dropped for it. */
  remember(peer: NsmPeer): string | undefined {
    const key = keyOf(peer)
    this.delete(key)
    const keys = this.#ofAddress.get(peer.address) ?? new Set()
    const [dropped] = keys.size >= MAX_OF_ADDRESS ? keys : this.#all.size >= MAX_PEERS ? this.#all.keys() : []
    if (dropped !== undefined) this.delete(dropped)
    this.#all.set(key, peer)
    this.#ofAddress.set(peer.address, keys.add(key))
    return dropped
  }
}

interface Line {
  readonly state?: number
  readonly add?: NsmPeer
  readonly done?: { readonly address: string; readonly name: string }
}

/**
 * The peers to notify of the next restart, and the state number of this server. A peer is durably on the list before its first lock is granted; a peer of an
 * earlier run stays on it until it was notified.
 */
export class PeerList {
  /** This server's NSM state. */
  readonly state: number
  /** Peers of earlier runs that were not notified yet. */
  readonly toNotify: readonly NsmPeer[]
  readonly #journal: Journal
  readonly #peers: Peers
  /** Whether the journal contains the present state. */
  #stateNoted = false
  /** Keys of the peers that have locks in this run. */
  readonly #monitored = new Map<string, Promise<void>>()

  private constructor(journal: Journal, state: number, peers: Peers) {
    this.#journal = journal
    this.state = state
    this.#peers = peers
    this.toNotify = peers.oldestFirst()
  }

  /**
   * Reads the journal and starts a new state. If that cannot be written, for example because the disk is full, `failed` is called. It is tried again with
   * the next peer, which gets no locks before it succeeds.
   */
  static async open(journal: Journal, failed: (error: unknown) => void = rethrow): Promise<PeerList> {
    let state = FIRST_STATE - 2
    const peers = new Peers()
    for (const line of journal.takeRecords().flatMap(parseLine)) {
      if (line.state !== undefined) state = line.state
      if (line.add) peers.remember(line.add)
      if (line.done) peers.delete(keyOf(line.done))
    }
    const list = new PeerList(journal, state + 2 > LAST_STATE ? FIRST_STATE : state + 2, peers)
    journal.keepShort({ count: () => 1 + peers.size, records: () => list.#live(), failed })
    await list.#noteState().catch(failed)
    return list
  }

  /** Resolves when the peer is durably on the list. Rejects if that fails. */
  monitor(peer: NsmPeer): Promise<void> {
    const key = keyOf(peer)
    const known = this.#monitored.get(key)
    if (known !== undefined) return known
    const noted = this.#add(peer)
    this.#monitored.set(key, noted)
    // The next lock request tries again.
    noted.catch(() => this.#monitored.delete(key))
    return noted
  }

  /** Records that the peer was notified. Unless it has locks again, it is removed. */
  async notified(peer: NsmPeer): Promise<void> {
    const key = keyOf(peer)
    if (this.#monitored.has(key)) return
    this.#peers.delete(key)
    await this.#append({ done: { address: peer.address, name: peer.name } })
  }

  async #add(peer: NsmPeer): Promise<void> {
    const forgotten = this.#peers.remember(peer)
    if (forgotten !== undefined) this.#monitored.delete(forgotten)
    await this.#append({ add: peer })
  }

  async #append(line: Line): Promise<void> {
    if (!this.#stateNoted) await this.#noteState()
    await this.#journal.append(JSON.stringify(line))
  }

  async #noteState(): Promise<void> {
    await this.#journal.append(JSON.stringify({ state: this.state } satisfies Line))
    this.#stateNoted = true
  }

  *#live(): Iterable<string> {
    const peers = this.#peers.oldestFirst()
    yield JSON.stringify({ state: this.state } satisfies Line)
    for (const add of peers) yield JSON.stringify({ add } satisfies Line)
  }
}

function rethrow(error: unknown): never {
  throw error
}

function keyOf({ address, name }: { address: string; name: string }): string {
  return `${address} ${name}`
}

/** Skips a line of an earlier version that was not written completely, which has no effect. */
function parseLine(text: string): Line[] {
  try {
    return [JSON.parse(text)]
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
}
