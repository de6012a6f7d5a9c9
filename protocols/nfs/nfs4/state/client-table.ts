import { Nfs4Client } from './client.ts'
import { type ChannelLimits, Session } from './session.ts'

/** How many clients, and how many that have not been confirmed by a session. */
const MOST_CLIENTS = 8192
const MOST_UNCONFIRMED = 1024
const MOST_SESSIONS_OF_CLIENT = 64

/** Who asks for a client id. */
export interface ClientName {
  readonly owner: string
  readonly verifier: string
  readonly principal: string
  readonly address: string
  readonly minor: number
}

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
  #unconfirmed = 0

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
    if (this.#unconfirmed >= MOST_UNCONFIRMED) this.#dropOldestUnconfirmed()
    if (this.#clients.size >= MOST_CLIENTS + MOST_UNCONFIRMED) return undefined
    const client = new Nfs4Client({ hi: this.boot, lo: this.#nextId++ }, who, nowMs)
    this.#clients.set(client.idLo, client)
    this.#unconfirmed++
    this.#recordsOf(who.owner).unconfirmed = client
    return client
  }

  /** Makes a client count. An earlier one of its owner loses everything. */
  confirm(client: Nfs4Client): void {
    if (client.confirmed) return
    const records = this.#recordsOf(client.owner)
    const earlier = records.confirmed
    client.confirmed = true
    this.#unconfirmed--
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
    if (!client.confirmed) this.#unconfirmed--
    this.#forget(client)
  }

  /** Makes a session. Undefined if the client has too many. */
  addSession(
    client: Nfs4Client,
    channels: { fore: ChannelLimits; back: ChannelLimits; callbackProgram: number },
  ): Session | undefined {
    if (client.sessions.size >= MOST_SESSIONS_OF_CLIENT) return undefined
    const random = Buffer.from(this.#random(4)).readUInt32BE()
    const session = new Session(client, this.#nextSession++, random, channels)
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
    this.#sessions.delete(session.serial)
    session.client.sessions.delete(session)
  }

  #forget(client: Nfs4Client): void {
    this.#clients.delete(client.idLo)
    for (const session of [...client.sessions]) this.dropSession(session)
    this.#ended(client)
  }

  #recordsOf(owner: string): Records {
    const records = this.#owners.get(owner) ?? { confirmed: undefined, unconfirmed: undefined }
    this.#owners.set(owner, records)
    return records
  }

  #dropOldestUnconfirmed(): void {
    for (const client of this.#clients.values()) {
      if (client.confirmed) continue
      this.drop(client)
      return
    }
  }
}
