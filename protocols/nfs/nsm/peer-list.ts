import { LRUCache } from 'lru-cache'

/** Where the list of peers is kept: lines of text that survive the server. */
export interface Journal {
  /** What was there at the start. */
  readonly lines: readonly string[]
  /** Adds text and makes it durable. */
  append(text: string): Promise<void>
  /** Puts other lines in place of all, in one step. */
  replace(pieces: AsyncIterable<string>): Promise<void>
}

/** A client that has locks, or had some: it has to be told when the server restarts. */
export interface NsmPeer {
  readonly address: string
  /** Its own name for itself (`caller_name`). */
  readonly name: string
  /** The address by which it knows this server; undefined where that is not known. */
  readonly ourAddress: string | undefined
}

/** How many peers are remembered. The oldest is forgotten first: its locks would not survive a restart. */
const MAX_PEERS = 4096
/** Of one address, which may give itself any number of names. */
const MAX_OF_ADDRESS = 256
/** So many lines are added to the journal before it is written anew. */
const MAX_APPENDED = 3 * MAX_PEERS
/** States are odd while a host is up, and grow with every restart. */
const FIRST_STATE = 1
const LAST_STATE = 0x7fff_ffff

/** Peers by their keys; the one that asked longest ago is the first to go. */
type Peers = LRUCache<string, NsmPeer>

interface Line {
  readonly state?: number
  readonly add?: NsmPeer
  readonly done?: { readonly address: string; readonly name: string }
}

/**
 * The peers to be told of the next restart, and the number of this server's state. A peer is on the list, durably, before its first lock is granted; one of an
 * earlier run stays on it until it was told.
 */
export class PeerList {
  /** This server's NSM state. */
  readonly state: number
  /** Peers of earlier runs that are not told yet. */
  readonly toNotify: readonly NsmPeer[]
  readonly #journal: Journal
  readonly #peers: Peers
  #appended = 0
  /** The writes to the journal, one after the other. */
  #writing: Promise<void> = Promise.resolve()
  /** Keys of the peers that have locks in this run. */
  readonly #monitored = new Map<string, Promise<void>>()

  private constructor(journal: Journal, state: number, peers: Peers) {
    this.#journal = journal
    this.state = state
    this.#peers = peers
    this.toNotify = oldestFirst(peers)
  }

  /**
   * Reads the journal and begins a new state. Where that cannot be written, as on a full disk, `failed` is told: the next peer is tried to be written with
   * all that is missing, and gets no locks before.
   */
  static async open(journal: Journal, failed: (error: unknown) => void = rethrow): Promise<PeerList> {
    let state = FIRST_STATE - 2
    const peers: Peers = new LRUCache({ max: MAX_PEERS })
    for (const line of journal.lines.flatMap(parseLine)) {
      if (line.state !== undefined) state = line.state
      if (line.add) remember(peers, line.add)
      if (line.done) peers.delete(keyOf(line.done))
    }
    const list = new PeerList(journal, state + 2 > LAST_STATE ? FIRST_STATE : state + 2, peers)
    await list.#compact().catch((error) => {
      list.#appended = MAX_APPENDED
      failed(error)
    })
    return list
  }

  /** Resolves when the peer is on the list for good. Rejects when that cannot be written. */
  monitor(peer: NsmPeer): Promise<void> {
    const key = keyOf(peer)
    const known = this.#monitored.get(key)
    if (known !== undefined) return known
    const noted = this.#add(peer)
    this.#monitored.set(key, noted)
    // The next lock tries again.
    noted.catch(() => this.#monitored.delete(key))
    return noted
  }

  /** The peer knows of this state: unless it has locks again there is nothing more to tell it. */
  async notified(peer: NsmPeer): Promise<void> {
    const key = keyOf(peer)
    if (this.#monitored.has(key)) return
    this.#peers.delete(key)
    await this.#append({ done: { address: peer.address, name: peer.name } })
  }

  async #add(peer: NsmPeer): Promise<void> {
    const forgotten = remember(this.#peers, peer)
    if (forgotten !== undefined) this.#monitored.delete(forgotten)
    await this.#append({ add: peer })
  }

  /** Adds a line, or writes all anew when there are too many that say nothing any more. */
  #append(line: Line): Promise<void> {
    const write = () =>
      ++this.#appended > MAX_APPENDED ? this.#compact() : this.#journal.append(`${JSON.stringify(line)}\n`)
    const written = this.#writing.then(write)
    this.#writing = written.catch(() => undefined)
    return written
  }

  async #compact(): Promise<void> {
    const lines: Line[] = [{ state: this.state }, ...oldestFirst(this.#peers).map((add) => ({ add }))]
    await this.#journal.replace(
      (async function* () {
        for (const line of lines) yield `${JSON.stringify(line)}\n`
      })(),
    )
    this.#appended = 0
  }
}

function rethrow(error: unknown): never {
  throw error
}

function oldestFirst(peers: Peers): NsmPeer[] {
  return [...peers.rvalues()].filter((peer) => peer !== undefined)
}

/** Puts a peer last; returns the key of the one that is forgotten for it: of the same address where that has its share. */
function remember(peers: Peers, peer: NsmPeer): string | undefined {
  if (!peers.has(keyOf(peer))) {
    const there = oldestFirst(peers).filter(({ address }) => address === peer.address)
    const [first] = there
    if (first !== undefined && there.length >= MAX_OF_ADDRESS) {
      peers.delete(keyOf(first))
      peers.set(keyOf(peer), peer)
      return keyOf(first)
    }
  }
  const [oldest] = peers.rkeys()
  peers.set(keyOf(peer), peer)
  return oldest === undefined || peers.has(oldest) ? undefined : oldest
}

function keyOf({ address, name }: { address: string; name: string }): string {
  return `${address} ${name}`
}

/** A line that is not whole was being written when the machine stopped: what it would have promised was not promised yet. */
function parseLine(text: string): Line[] {
  try {
    return [JSON.parse(text)]
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
}
