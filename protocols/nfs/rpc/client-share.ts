/** How much one client may have, and all of them together. */
export interface ShareLimits {
  readonly maxConnectionsPerClient: number
  /** Calls of one client, over all of its connections, that wait for a disk. */
  readonly maxInFlightPerClient: number
  /** Calls of all clients that wait for a disk. When several clients have some, each may have an equal part. */
  readonly maxInFlightTotal: number
  /** Bytes of the calls in flight of all clients: beyond that a client gets one call at a time. */
  readonly maxBytesInFlight: number
  /** Calls of one client that are answered in a row, before others get their turn. */
  readonly turnCalls: number
}

/** A connection that has stopped reading until its client's turn. */
export interface Waiting {
  /** Answers what is there, as far as allowed. */
  goOn(): void
}

/** However many clients there are, each may have this many calls in flight. */
const MIN_IN_FLIGHT = 8

/** The shares of all clients of a server. A client is an address: many connections are no way to get more. */
export class ClientShares {
  readonly limits: ShareLimits
  readonly #clients = new Map<string, ClientShare>()
  /** Clients that have calls in flight or waiting. */
  active = 0
  /** Bytes of the messages of all calls in flight. */
  bytesInFlight = 0

  constructor(limits: ShareLimits) {
    this.limits = limits
  }

  /** The share of a client that opens a connection; undefined when it has as many as it may. */
  connected(address: string): ClientShare | undefined {
    const share = this.#clients.get(address) ?? new ClientShare(this, address)
    if (share.connections >= this.limits.maxConnectionsPerClient) return undefined
    share.connections++
    this.#clients.set(address, share)
    return share
  }

  /** A client has closed its last connection. */
  gone(address: string): void {
    this.#clients.delete(address)
  }
}

/**
 * What one client has under way, over all of its connections. Those that may not go on wait in line; the client's turn comes
 * once in every round of the event loop, like that of every other client.
 */
export class ClientShare {
  connections = 0
  readonly #shares: ClientShares
  readonly #address: string
  #inFlight = 0
  /** Calls answered in this turn. */
  #answered = 0
  #line: Waiting[] = []
  #active = false
  #turnScheduled = false

  constructor(shares: ClientShares, address: string) {
    this.#shares = shares
    this.#address = address
  }

  /** Whether no further call of this client may be taken on now. Who asks and is told so calls `wait`. */
  get mustWait(): boolean {
    return this.#answered >= this.#shares.limits.turnCalls || this.#full
  }

  /** A call is taken on. */
  taken(): void {
    this.#answered++
  }

  /** The calls of this turn have taken long: others come first. */
  endTurn(): void {
    this.#answered = this.#shares.limits.turnCalls
  }

  /** A call goes on without the loop; its message of so many bytes stays in memory. */
  begun(bytes: number): void {
    this.#inFlight++
    this.#shares.bytesInFlight += bytes
    this.#note()
  }

  /** It has ended. */
  ended(bytes: number): void {
    this.#inFlight--
    this.#shares.bytesInFlight -= bytes
    this.#note()
    if (this.#line.length > 0) this.#scheduleTurn()
  }

  /** Puts a connection into the line; its `goOn` is called when its turn comes. */
  wait(connection: Waiting): void {
    this.#line.push(connection)
    this.#note()
    // When the share is full the end of a call brings the turn.
    if (!this.#full) this.#scheduleTurn()
  }

  /** A connection is closed, whether in the line or not. */
  disconnected(connection: Waiting): void {
    this.#line = this.#line.filter((waiting) => waiting !== connection)
    this.#note()
    this.connections--
    if (this.connections === 0) this.#shares.gone(this.#address)
  }

  get #full(): boolean {
    const { maxInFlightPerClient, maxInFlightTotal, maxBytesInFlight } = this.#shares.limits
    // The end of one of its calls brings the client's turn: so it may wait only while it has one.
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
    while (this.#line.length > 0 && !this.mustWait) this.#line.shift()?.goOn()
    this.#note()
    if (this.#line.length > 0 && !this.#full) this.#scheduleTurn()
  }
}
