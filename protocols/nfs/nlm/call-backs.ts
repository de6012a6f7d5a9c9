/** The maximum number of callbacks in progress, for all clients and for one address. */
const MAX_RUNNING = 64
const MAX_OF_ADDRESS = 8

/** Limits the calls to clients that carry replies, each of which keeps a socket open: further ones are dropped, and the client retransmits. */
export class CallBacks {
  readonly #running = new Map<string, number>()
  #count = 0

  /** Starts `call` to a client unless too many are running. Never rejects. */
  run(address: string, call: () => Promise<void>): void {
    const ofAddress = this.#running.get(address) ?? 0
    if (this.#count >= MAX_RUNNING || ofAddress >= MAX_OF_ADDRESS) return
    this.#count++
    this.#running.set(address, ofAddress + 1)
    call().finally(() => this.#ended(address))
  }

  #ended(address: string): void {
    this.#count--
    const left = (this.#running.get(address) ?? 1) - 1
    if (left === 0) this.#running.delete(address)
    else this.#running.set(address, left)
  }
}
