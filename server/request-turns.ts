/** The time in one turn of the event loop in which new requests may start, in ms. */
const TURN_MS = 2

/** The connection of a request. Requests that tests inject have no `pause` and `resume`. */
interface Connection {
  readonly remoteAddress?: string | undefined
  readonly destroyed: boolean
  pause?(): void
  resume?(): void
}

/** The waiting requests of one address. */
interface Waiting {
  readonly address: string
  readonly requests: { readonly socket: Connection; readonly go: () => void }[]
}

/**
 * Starts requests in turns of the event loop. A request starts at once while the turn has time left, otherwise in a later turn. Addresses take
 * turns, and an address without waiting requests comes first, so one client's request does not wait for hundreds of another client's.
 */
export class RequestTurns {
  readonly #now: () => number
  readonly #byAddress = new Map<string, Waiting>()
  /** Addresses that have not had a turn since they began to wait. */
  #fresh: Waiting[] = []
  /** Addresses that have had a turn and still have waiting requests. */
  #others: Waiting[] = []
  #endMs = 0
  /** Ends the current turn. Undefined until the first request of a turn arrives. */
  #end: NodeJS.Immediate | undefined

  /** @param now a monotonic clock, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Calls `go` now or in a later turn, unless the connection closes before. */
  begin(socket: Connection, go: () => void): void {
    if (this.#byAddress.size === 0 && this.#hasTime()) go()
    else this.#wait(socket, go)
  }

  #hasTime(): boolean {
    if (this.#end !== undefined) return this.#now() < this.#endMs
    this.#endMs = this.#now() + TURN_MS
    // The loop may sleep if no request has to wait.
    this.#end = setImmediate(this.#turn).unref()
    return true
  }

  #wait(socket: Connection, go: () => void): void {
    // Reading the bodies of a thousand uploads that start together would take longer than starting them.
    socket.pause?.()
    const address = socket.remoteAddress ?? ''
    const known = this.#byAddress.get(address)
    if (known !== undefined) {
      known.requests.push({ socket, go })
      return
    }
    const waiting = { address, requests: [{ socket, go }] }
    this.#byAddress.set(address, waiting)
    this.#fresh.push(waiting)
    this.#end ??= setImmediate(this.#turn)
    this.#end.ref()
  }

  readonly #turn = (): void => {
    this.#end = undefined
    if (this.#byAddress.size === 0) return
    this.#endMs = this.#now() + TURN_MS
    this.#end = setImmediate(this.#turn)
    do this.#next()
    while (this.#byAddress.size > 0 && this.#now() < this.#endMs)
  }

  #next(): void {
    const waiting = this.#fresh.shift() ?? this.#others.shift()
    if (waiting === undefined) return
    const request = waiting.requests.shift()
    if (waiting.requests.length > 0) this.#others.push(waiting)
    else this.#byAddress.delete(waiting.address)
    if (request === undefined || request.socket.destroyed) return
    request.socket.resume?.()
    request.go()
  }
}
