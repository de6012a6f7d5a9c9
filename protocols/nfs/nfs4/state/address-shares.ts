/** What each address has of something that all share, up to a limit for each. */
export class AddressShares {
  readonly #most: number
  readonly #of = new Map<string, number>()
  /** What all have together. */
  total = 0

  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most
  }

  of(address: string): number {
    return this.#of.get(address) ?? 0
  }

  hasRoom(address: string, amount: number): boolean {
    return this.of(address) + amount <= this.#most
  }

  add(address: string, amount: number): void {
    this.total += amount
    this.#of.set(address, this.of(address) + amount)
  }

  remove(address: string, amount: number): void {
    this.total -= amount
    const left = this.of(address) - amount
    if (left > 0) this.#of.set(address, left)
    else this.#of.delete(address)
  }
}
