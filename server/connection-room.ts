/** The part of all connections that one address may hold even if each of them has a request. */
const BUSY_PART = 1 / 2

/** The open connections of a listener by address. Chooses which one to close when there are too many. */
export class ConnectionRoom<Connection extends object> {
  readonly #most: number
  /** The address of each connection, in the order of their last requests. */
  readonly #open = new Map<Connection, string>()
  readonly #counts = new Map<string, number>()

  /** @param most the maximum number of open connections */
  constructor(most: number) {
    this.#most = most
  }

  /** Adds a connection. Returns another one to close if there are too many and one can be closed. */
  add(connection: Connection, address: string, isBusy: (connection: Connection) => boolean): Connection | undefined {
    this.#open.set(connection, address)
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1)
    if (this.#open.size <= this.#most) return undefined
    const other = this.#dispensable(connection, isBusy)
    if (other !== undefined) this.remove(other)
    return other
  }

  /** Must be called when a connection gets a new request. */
  touch(connection: Connection): void {
    const address = this.#open.get(connection)
    if (address === undefined) return
    this.#open.delete(connection)
    this.#open.set(connection, address)
  }

  /** Must be called when a connection has closed. */
  remove(connection: Connection): void {
    const address = this.#open.get(connection)
    if (address === undefined) return
    this.#open.delete(connection)
    const left = (this.#counts.get(address) ?? 0) - 1
    if (left > 0) this.#counts.set(address, left)
    else this.#counts.delete(address)
  }

  /**
   * Among the idle connections of the address with the most connections, the one without a request for longest. If there is none, any idle connection. If
   * there is none, the oldest one of the address with the most connections, if that address holds more than its part.
   */
  #dispensable(newcomer: Connection, isBusy: (connection: Connection) => boolean): Connection | undefined {
    const largest = this.#largest()
    let idle: Connection | undefined
    let oldest: Connection | undefined
    for (const [connection, address] of this.#open) {
      if (connection === newcomer) continue
      const isOfLargest = address === largest
      if (isBusy(connection)) {
        if (isOfLargest) oldest ??= connection
      } else if (isOfLargest) return connection
      else idle ??= connection
    }
    if (idle !== undefined) return idle
    const holdsTooMany = (this.#counts.get(largest) ?? 0) > this.#most * BUSY_PART
    return holdsTooMany && this.#open.get(newcomer) !== largest ? oldest : undefined
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
