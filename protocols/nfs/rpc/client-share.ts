/** Limits for one client, and for all of them together. */
export interface ShareLimits {
  readonly maxConnectionsPerClient: number
  /** Maximum calls of one client, on all of its connections, that wait for a disk. */
  readonly maxInFlightPerClient: number
  /** Maximum calls of all clients that wait for a disk. Active clients get equal shares. */
  readonly maxInFlightTotal: number
  /** Maximum bytes of the calls in flight of all clients; beyond that, each client gets one call at a time. */
  readonly maxBytesInFlight: number
  /** Maximum consecutive calls of one client before others get their turn. */
  readonly turnCalls: number
}

/** A connection that has stopped reading until its client's turn. */
export interface Waiting {
  /** Processes the available records, as far as allowed. */
  goOn(): void
}

/** How long the calls of a client are processed in one turn of the event loop, on all of its connections together, in ms. */
const TURN_MS = 2
/** The minimum number of calls in flight of each client. */
const MIN_IN_FLIGHT = 8

/** The shares of all clients of a server. A client is an address, so more connections do not give a larger share. */
export class ClientShares {
  readonly limits: ShareLimits
  readonly #clients = new Map<string, ClientShare>()
  /** Clients with calls in flight or waiting. */
  active = 0
  /** The bytes of all messages of calls in flight. */
  bytesInFlight = 0

  constructor(limits: ShareLimits) {
    this.limits = limits
  }

  /** Connections of an address. */
  connectionsOf(address: string): number {
    return this.#clients.get(address)?.connections ?? 0
  }

  /** The share of a client that opens a connection; undefined if it has too many connections. */
  connected(address: string): ClientShare | undefined {
    const share = this.#clients.get(address) ?? new ClientShare(this, address)
    if (share.connections >= this.limits.maxConnectionsPerClient) return undefined
    share.connections++
    this.#clients.set(address, share)
    return share
  }

  /** Called when a client has closed its last connection. */
  gone(address: string): void {
    this.#clients.delete(address)
  }
}

/**
 * The work in progress of one client on all of its connections. Connections that must wait are queued; the client gets a turn
 * once per turn of the event loop, like every other client.
 */
export class ClientShare {
  connections = 0
  readonly #shares: ClientShares
  readonly #address: string
  #inFlight = 0
  /** The number of calls answered in this turn. */
  #answered = 0
  #line: Waiting[] = []
  #active = false
  #turnScheduled = false
  /** When the work in this turn of the event loop began, in ms; undefined if there was none. */
  #startMs: number | undefined

  constructor(shares: ClientShares, address: string) {
    this.#shares = shares
    this.#address = address
  }

  /** Whether this client may start no further call now. If so, the caller must call `wait`. */
  get mustWait(): boolean {
    return this.#answered >= this.#shares.limits.turnCalls || (this.#inFlight > 0 && this.#full)
  }

  /** Begins work on one of its connections. Returns when it must end, in ms. */
  begin(nowMs: number): number {
    // Otherwise this is the only work of the client in this turn.
    if (this.connections > 1 && this.#startMs === undefined) {
      this.#startMs = nowMs
      setImmediate(this.#loopTurned)
    }
    const endMs = (this.#startMs ?? nowMs) + TURN_MS
    if (nowMs >= endMs) this.endTurn()
    return endMs
  }

  readonly #loopTurned = (): void => {
    this.#startMs = undefined
  }

  /** Counts a started call. */
  taken(): void {
    this.#answered++
  }

  /** Ends the turn, because its calls took long. */
  endTurn(): void {
    this.#answered = this.#shares.limits.turnCalls
  }

  /** Counts a call that continues asynchronously; its message stays in memory. */
  begun(bytes: number): void {
    this.#inFlight++
    this.#shares.bytesInFlight += bytes
    this.#note()
  }

  /** Counts its end. */
  ended(bytes: number): void {
    this.#inFlight--
    this.#shares.bytesInFlight -= bytes
    this.#note()
    if (this.#line.length > 0) this.#scheduleTurn()
  }

  /** Queues a connection; its `goOn` is called when its turn comes. */
  wait(connection: Waiting): void {
    this.#line.push(connection)
    this.#note()
    // If the share is full, the end of a call triggers the turn.
    if (!this.#full) this.#scheduleTurn()
  }

  /** Removes a closed connection, whether queued or not. */
  disconnected(connection: Waiting): void {
    this.#line = this.#line.filter((waiting) => waiting !== connection)
    this.#note()
    this.connections--
    if (this.connections === 0) this.#shares.gone(this.#address)
  }

  get #full(): boolean {
    const { maxInFlightPerClient, maxInFlightTotal, maxBytesInFlight } = this.#shares.limits
    // The end of one of its calls triggers the client's turn, so it may wait only while it has one.
    if (this.#inFlight > 0 && this.#shares.bytesInFlight >= maxBytesInFlight) return true
    const part = Math.max(MIN_IN_FLIGHT, Math.floor(maxInFlightTotal / Math.max(1, this.#shares.active)))
    return this.#inFlight >= Math.min(maxInFlightPerClient, part)
  }

  #note(): void {
    const active = this.#inFlight > 0 || this.#line.length > 0
    if (active === this.#active) return
    this.#active = active
    this.#shares.active += active ? 1 : -1
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return
    this.#turnScheduled = true
    setImmediate(() => {
      this.#turnScheduled = false
      this.#turn()
    })
  }

  #turn(): void {
    this.#answered = 0
    this.#startMs = undefined
    while (this.#line.length > 0 && !this.mustWait) this.#line.shift()?.goOn()
    this.#note()
    if (this.#line.length > 0 && !this.#full) this.#scheduleTurn()
  }
}
