/** How long a connection must have been idle before it is closed in favour of another one, in ms: after a request, and before its first request. */
const IDLE_MS = 1_000
const UNUSED_MS = 250
/** The part of all connections above which idle ones are closed. The others are for clients that connect while no connection has been idle for long enough. */
const USUAL_PART = 3 / 4
/** The part of all connections that may wait for their first request: a thousand that each send a byte of it at the same time would delay others. */
const UNUSED_PART = 1 / 8
const LEAST_UNUSED = 16
/** The part of all connections that one address may hold even if each of them has a request. */
const BUSY_PART = 1 / 2

interface Place {
  readonly address: string
  /** When the connection was accepted, or its last request began or ended. */
  sinceMs: number
  /** Whether it has had a request. */
  used: boolean
  /** The number of requests in progress. */
  requests: number
}

/** An open connection, for people who look. */
export interface OpenPlace<Connection> {
  readonly connection: Connection
  readonly address: string
  /** When it was accepted, or its last request began or ended. */
  readonly sinceMs: number
  /** The number of requests in progress. */
  readonly requests: number
}

/**
 * The open connections of a listener by address. Chooses which one to close when there are many. A connection in use is not closed: neither during a
 * request nor shortly after one, when the next may be under way (RFC 9112 section 9.5), unless its address holds too many.
 */
export class ConnectionRoom<Connection extends object> {
  readonly #usual: number
  readonly #most: number
  readonly #mostUnused: number
  readonly #now: () => number
  /** The connections in the order of `sinceMs`. */
  readonly #open = new Map<Connection, Place>()
  /** The last of them, so that a single busy connection is not moved all the time. */
  #last: Place | undefined
  /** Those that have had no request, in the order in which they were accepted. */
  readonly #unused = new Map<Connection, Place>()
  readonly #counts = new Map<string, number>()

  /**
   * @param most the maximum number of open connections
   * @param now a monotonic clock, in ms
   */
  constructor(most: number, now: () => number) {
    this.#most = most
    this.#usual = Math.max(1, Math.floor(most * USUAL_PART))
    this.#mostUnused = Math.max(LEAST_UNUSED, Math.floor(most * UNUSED_PART))
    this.#now = now
  }

  /** Whether there are so many connections in use that each should be closed after its reply. */
  get isShort(): boolean {
    return this.#open.size > this.#usual
  }

  get size(): number {
    return this.#open.size
  }

  /** The open connections. */
  list(): OpenPlace<Connection>[] {
    return [...this.#open].map(([connection, { address, sinceMs, requests }]) => ({
      ...{ connection, address, sinceMs, requests },
    }))
  }

  /** Adds a connection. Returns the one to close if there are too many: another one, or this one if no other can be closed. */
  add(connection: Connection, address: string): Connection | undefined {
    const place = { address, sinceMs: this.#now(), used: false, requests: 0 }
    this.#open.set(connection, place)
    this.#last = place
    this.#unused.set(connection, place)
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1)
    if (this.#open.size <= this.#usual && this.#unused.size <= this.#mostUnused) return undefined
    const other = this.#dispensable(connection, place)
    if (other !== undefined) this.remove(other)
    return other
  }

  /** Must be called when a request of a connection begins. */
  begun(connection: Connection): void {
    const place = this.#open.get(connection)
    if (place === undefined) return
    this.#moveToEnd(connection, place)
    if (!place.used) {
      place.used = true
      this.#unused.delete(connection)
    }
    place.requests++
  }

  /** Must be called when a request of a connection has ended. */
  ended(connection: Connection): void {
    const place = this.#open.get(connection)
    if (place === undefined) return
    this.#moveToEnd(connection, place)
    place.requests--
  }

  /** Must be called when a connection has closed. */
  remove(connection: Connection): void {
    const place = this.#open.get(connection)
    if (place === undefined) return
    this.#open.delete(connection)
    this.#unused.delete(connection)
    const left = (this.#counts.get(place.address) ?? 0) - 1
    if (left > 0) this.#counts.set(place.address, left)
    else this.#counts.delete(place.address)
  }

  /** Must be called when a connection continues as `next`, such as an encrypted one. */
  replace(connection: Connection, next: Connection): void {
    const place = this.#open.get(connection)
    if (place === undefined) return
    // Its handshake is what it did last, so its place is at the end.
    this.#open.delete(connection)
    place.sinceMs = this.#now()
    this.#open.set(next, place)
    this.#last = place
    if (this.#unused.delete(connection)) this.#unused.set(next, place)
  }

  #moveToEnd(connection: Connection, place: Place): void {
    place.sinceMs = this.#now()
    if (place === this.#last) return
    this.#open.delete(connection)
    this.#open.set(connection, place)
    this.#last = place
  }

  #dispensable(newcomer: Connection, { address, sinceMs }: Place): Connection | undefined {
    const largest = this.#largest()
    if (this.#open.size <= this.#usual) {
      // So many that there is no time left for each.
      const far = this.#unused.size > 2 * this.#mostUnused
      return this.#waitingFirst(largest, far ? undefined : sinceMs)
    }
    const idle = this.#idle(largest, sinceMs)
    if (idle !== undefined || this.#open.size <= this.#most) return idle
    const ofLargest = this.#waitingFirst(largest)
    if (address === largest) return ofLargest ?? newcomer
    if (ofLargest !== undefined) return ofLargest
    const first = this.#waitingFirst()
    return first !== undefined && first !== newcomer ? first : (this.#oldest(largest) ?? newcomer)
  }

  /** Among the connections of the largest address that have been idle for long enough, the one that has been for longest. If there is none, one of another address. */
  #idle(largest: string, nowMs: number): Connection | undefined {
    let other: Connection | undefined
    for (const [connection, { address, sinceMs, used, requests }] of this.#open) {
      const idleMs = nowMs - sinceMs
      if (idleMs < UNUSED_MS) break
      if (requests > 0 || (used && idleMs < IDLE_MS)) continue
      if (address === largest) return connection
      other ??= connection
    }
    return other
  }

  /** The oldest connection, of one address or of any, that has had no request, if it has waited for long enough. */
  #waitingFirst(only?: string, nowMs = Number.POSITIVE_INFINITY): Connection | undefined {
    for (const [connection, { address, sinceMs }] of this.#unused) {
      if (nowMs - sinceMs < UNUSED_MS) return undefined
      if (only === undefined || address === only) return connection
    }
    return undefined
  }

  /** The oldest connection of the largest address, if that address holds more than its part. */
  #oldest(largest: string): Connection | undefined {
    if ((this.#counts.get(largest) ?? 0) <= this.#most * BUSY_PART) return undefined
    for (const [connection, { address }] of this.#open) {
      if (address === largest) return connection
    }
    return undefined
  }

  #largest(): string {
    let most = 0
    let largest = ''
    for (const [address, count] of this.#counts) {
      if (count <= most) continue
      most = count
      largest = address
    }
    return largest
  }
}
