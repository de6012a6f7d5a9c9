import { AddressShares } from './address-shares.ts'
import { type ClientName, Nfs4Client } from './client.ts'
import { type ChannelLimits, Session } from './session.ts'

/** How many clients, and how many that have not been confirmed by a session. */
const MOST_CLIENTS = 8192
const MOST_UNCONFIRMED = 1024
/** How many of them one address may have. Many clients may be behind a router. */
const MOST_CLIENTS_OF_ADDRESS = 2048
const MOST_UNCONFIRMED_OF_ADDRESS = 64
const MOST_SESSIONS_OF_CLIENT = 64
/** The memory of all sessions, and of those of one address, if each slot held the largest reply that it may. */
const MOST_SESSION_BYTES = 128 * 1024 * 1024
const MOST_SESSION_BYTES_OF_ADDRESS = MOST_SESSION_BYTES / 8
/** What a session and a slot take besides their replies. */
const SESSION_BYTES = 1024
const SLOT_BYTES = 256
/** How many slots a session gets: fewer when memory becomes short, so that nobody goes without. */
const SLOTS_BY_USE = [
  { below: 1 / 4, slots: 64 },
  { below: 1 / 2, slots: 16 },
  { below: 1, slots: 4 },
] as const

/** The clients of one owner: one that counts, and one that would take its place. */
interface Records {
  confirmed: Nfs4Client | undefined
  unconfirmed: Nfs4Client | undefined
}

/** The clients and their sessions. */
export class ClientTable {
  /** The number of this run of the server, which is the high half of client ids and a part of stateids. */
  readonly boot: number
  readonly #clients = new Map<number, Nfs4Client>()
  readonly #owners = new Map<string, Records>()
  readonly #sessions = new Map<number, Session>()
  readonly #random: (length: number) => Uint8Array
  readonly #ended: (client: Nfs4Client) => void
  #nextId = 1
  #nextSession = 1
  /** Those that are not confirmed, the oldest first. */
  readonly #unconfirmed = new Set<Nfs4Client>()
  readonly #shares = new AddressShares(MOST_CLIENTS_OF_ADDRESS)
  readonly #unconfirmedShares = new AddressShares(MOST_UNCONFIRMED_OF_ADDRESS)
  readonly #sessionShares = new AddressShares(MOST_SESSION_BYTES_OF_ADDRESS)

  /** `ended` is called when a client is dropped, and frees what it held. */
  constructor(boot: number, random: (length: number) => Uint8Array, ended: (client: Nfs4Client) => void) {
    this.boot = boot
    this.#random = random
    this.#ended = ended
  }

  get size(): number {
    return this.#clients.size
  }

  get sessions(): number {
    return this.#sessions.size
  }

  *[Symbol.iterator](): Generator<Nfs4Client> {
    yield* this.#clients.values()
  }

  /** The client with an id of this run. */
  byId(hi: number, lo: number): Nfs4Client | undefined {
    return hi === this.boot ? this.#clients.get(lo) : undefined
  }

  /** The client with a name in the tables of locks. */
  byKey(key: string): Nfs4Client | undefined {
    const [, hi, lo] = / v4 (\d+)\.(\d+)$/.exec(key) ?? []
    return lo === undefined ? undefined : this.byId(Number(hi), Number(lo))
  }

  /** The client that has not been heard of for the longest time, before `beforeMs`. */
  longestGone(beforeMs: number): Nfs4Client | undefined {
    let found: Nfs4Client | undefined
    for (const client of this.#clients.values()) {
      if (client.renewedMs < (found?.renewedMs ?? beforeMs)) found = client
    }
    return found
  }

  /** The clients with an owner. */
  byOwner(owner: string): Readonly<Records> {
    return this.#owners.get(owner) ?? { confirmed: undefined, unconfirmed: undefined }
  }

  /** Makes a client that counts once it is confirmed. Undefined if there are too many. */
  add(who: ClientName, nowMs: number): Nfs4Client | undefined {
    const records = this.#owners.get(who.owner)
    if (records?.unconfirmed !== undefined) this.drop(records.unconfirmed)
    if (!this.#unconfirmedShares.hasRoom(who.address, 1)) this.#dropOldestUnconfirmed(who.address)
    else if (this.#unconfirmed.size >= MOST_UNCONFIRMED) this.#dropOldestUnconfirmed(undefined)
    if (this.#clients.size >= MOST_CLIENTS + MOST_UNCONFIRMED || !this.#shares.hasRoom(who.address, 1)) return undefined
    const client = new Nfs4Client({ hi: this.boot, lo: this.#nextId++ }, who, nowMs)
    this.#clients.set(client.idLo, client)
    this.#unconfirmed.add(client)
    this.#shares.add(who.address, 1)
    this.#unconfirmedShares.add(who.address, 1)
    this.#recordsOf(who.owner).unconfirmed = client
    return client
  }

  /** Makes a client count. An earlier one of its owner loses everything. */
  confirm(client: Nfs4Client): void {
    if (client.confirmed) return
    const records = this.#recordsOf(client.owner)
    const earlier = records.confirmed
    client.confirmed = true
    this.#noLongerUnconfirmed(client)
    records.unconfirmed = undefined
    records.confirmed = client
    if (earlier !== undefined) this.#forget(earlier)
  }

  /** Forgets a client with everything that it has. */
  drop(client: Nfs4Client): void {
    const records = this.#owners.get(client.owner)
    if (records?.confirmed === client) records.confirmed = undefined
    if (records?.unconfirmed === client) records.unconfirmed = undefined
    if (records?.confirmed === undefined && records?.unconfirmed === undefined) this.#owners.delete(client.owner)
    this.#forget(client)
  }

  /** Makes a session, with fewer slots than are asked for if memory is short. Undefined if the client, its address or all together have too many. */
  addSession(
    client: Nfs4Client,
    { fore, back, callbackProgram }: { fore: ChannelLimits; back: ChannelLimits; callbackProgram: number },
  ): Session | undefined {
    if (client.sessions.size >= MOST_SESSIONS_OF_CLIENT) return undefined
    const slots = this.#slotsFor(client.address)
    const limited = { ...fore, maxRequests: Math.min(fore.maxRequests, slots) }
    const bytes = bytesOf(limited)
    if (slots === 0 || this.#sessionShares.total + bytes > MOST_SESSION_BYTES) return undefined
    const random = Buffer.from(this.#random(4)).readUInt32BE()
    const session = new Session(client, this.#nextSession++, random, { fore: limited, back, callbackProgram })
    this.#sessionShares.add(client.address, bytes)
    this.#sessions.set(session.serial, session)
    client.sessions.add(session)
    return session
  }

  /** The session with the id at `at` of `view`. */
  session(view: DataView, at: number): Session | undefined {
    const session = this.#sessions.get(view.getUint32(at + 12))
    if (session === undefined || view.getUint32(at) !== session.client.idHi) return undefined
    if (view.getUint32(at + 4) !== session.client.idLo || view.getUint32(at + 8) !== session.random) return undefined
    return session
  }

  dropSession(session: Session): void {
    if (!this.#sessions.delete(session.serial)) return
    this.#sessionShares.remove(session.client.address, bytesOf(session.fore))
    session.client.sessions.delete(session)
  }

  /** The slots of a new session: by what all sessions have, and by what those of its address have. 0 if there is no room. */
  #slotsFor(address: string): number {
    const used = this.#sessionShares.total / MOST_SESSION_BYTES
    const own = this.#sessionShares.of(address) / MOST_SESSION_BYTES_OF_ADDRESS
    return SLOTS_BY_USE.find(({ below }) => Math.max(used, own) < below)?.slots ?? 0
  }

  #noLongerUnconfirmed(client: Nfs4Client): void {
    if (this.#unconfirmed.delete(client)) this.#unconfirmedShares.remove(client.address, 1)
  }

  #forget(client: Nfs4Client): void {
    this.#noLongerUnconfirmed(client)
    if (this.#clients.delete(client.idLo)) this.#shares.remove(client.address, 1)
    for (const session of [...client.sessions]) this.dropSession(session)
    this.#ended(client)
  }

  #recordsOf(owner: string): Records {
    const records = this.#owners.get(owner) ?? { confirmed: undefined, unconfirmed: undefined }
    this.#owners.set(owner, records)
    return records
  }

  /** Drops the client of `address`, or of any, that has waited longest for its confirmation. */
  #dropOldestUnconfirmed(address: string | undefined): void {
    for (const client of this.#unconfirmed) {
      if (address !== undefined && client.address !== address) continue
      this.drop(client)
      return
    }
  }
}

function bytesOf({ maxRequests, maxCachedBytes }: ChannelLimits): number {
  return SESSION_BYTES + maxRequests * (SLOT_BYTES + maxCachedBytes)
}
