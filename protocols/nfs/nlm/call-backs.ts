/** Answers under way at a time, of all clients and of one address. */
const MAX_RUNNING = 64
const MAX_OF_ADDRESS = 8

/** Bounds the calls that carry answers to clients, each of which has a socket open until it ends: what is beyond is left out, and the client asks again. */
export class CallBacks {
  readonly #running = new Map<string, number>()
  #count = 0

  /** Begins `call` to a client, unless too many run; it never rejects. */
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
