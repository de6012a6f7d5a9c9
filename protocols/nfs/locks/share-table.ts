/** A share reservation of DOS and Windows clients: the access of the open file, and the access denied to others. Bits: 1 read, 2 write. */
export interface Share {
  readonly owner: string
  readonly client: string
  readonly access: number
  readonly deny: number
}

const MAX_SHARES = 50_000

/** Share reservations of all files (NLM SHARE, and OPEN of version 4). */
export class ShareTable {
  readonly #files = new Map<string, Share[]>()
  /** The number of reservations of each client. */
  readonly #clients = new Map<string, number>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Reserves, replacing the owner's reservation; false if it conflicts with others, or there are too many. */
  reserve(file: string, wanted: Share): boolean {
    const others = (this.#files.get(file) ?? []).filter(({ owner }) => owner !== wanted.owner)
    if (others.some((share) => share.access & wanted.deny || wanted.access & share.deny)) return false
    if (this.#size >= MAX_SHARES) return false
    this.#put(file, [...others, wanted])
    return true
  }

  /** Releases the owner's reservation. */
  release(file: string, owner: string): void {
    this.#put(
      file,
      (this.#files.get(file) ?? []).filter((share) => share.owner !== owner),
    )
  }

  /** Releases all reservations of a client. */
  freeClient(client: string): void {
    for (const [file, shares] of [...this.#files]) {
      this.#put(
        file,
        shares.filter((share) => share.client !== client),
      )
    }
  }

  /** Whether a client has a reservation. */
  hasClient(client: string): boolean {
    return this.#clients.has(client)
  }

  #count({ client }: Share, change: number): void {
    const count = (this.#clients.get(client) ?? 0) + change
    if (count === 0) this.#clients.delete(client)
    else this.#clients.set(client, count)
  }

  #put(file: string, shares: Share[]): void {
    const before = this.#files.get(file) ?? []
    this.#size += shares.length - before.length
    for (const share of before) this.#count(share, -1)
    for (const share of shares) this.#count(share, 1)
    if (shares.length === 0) this.#files.delete(file)
    else this.#files.set(file, shares)
  }
}
