import { addressOfClient } from './client-address.ts'

/** A share reservation of DOS and Windows clients: the access of the open file, and the access denied to others. Bits: 1 read, 2 write. */
export interface Share {
  readonly owner: string
  readonly client: string
  readonly access: number
  readonly deny: number
}

/** The limits on reservations. */
export interface ShareLimits {
  readonly total: number
  /** For all clients of one address together, whatever names they use. */
  readonly perClient: number
  readonly perFile: number
  /** Of all clients of one address in one file, so that others can still reserve it. */
  readonly perFileAndClient: number
  /** The lengths of the names of all owners, and of those at one address. */
  readonly ownerBytes: number
  readonly ownerBytesPerClient: number
}

const LIMITS: ShareLimits = {
  total: 50_000,
  perClient: 5000,
  perFile: 512,
  perFileAndClient: 384,
  ownerBytes: 8 * 1024 * 1024,
  ownerBytesPerClient: 1024 * 1024,
}

/** The reservations of all clients of one address. */
interface Used {
  shares: number
  ownerBytes: number
}

/** Share reservations of all files (NLM SHARE, and OPEN of version 4). */
export class ShareTable {
  readonly #files = new Map<string, readonly Share[]>()
  /** The files with reservations of each client, and their number in each. */
  readonly #clients = new Map<string, Map<string, number>>()
  readonly #addresses = new Map<string, Used>()
  readonly #limits: ShareLimits
  #size = 0
  #ownerBytes = 0

  constructor(limits: Partial<ShareLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
  }

  get size(): number {
    return this.#size
  }

  /** Reserves, replacing the owner's reservation. */
  reserve(file: string, wanted: Share): 'granted' | 'denied' | 'full' {
    const { own, others } = this.#split(file, ({ owner }) => owner === wanted.owner)
    if (others.some((share) => share.access & wanted.deny || wanted.access & share.deny)) return 'denied'
    if (own.length === 0 && this.#isFull(others, wanted)) return 'full'
    this.#remove(file, own, others)
    this.#count(file, wanted, 1)
    this.#files.set(file, [...others, wanted])
    return 'granted'
  }

  /** Releases the owner's reservation. */
  release(file: string, owner: string): void {
    const { own, others } = this.#split(file, (share) => share.owner === owner)
    this.#remove(file, own, others)
  }

  /** Releases all reservations of a client. */
  freeClient(client: string): void {
    for (const file of [...(this.#clients.get(client)?.keys() ?? [])]) {
      const { own, others } = this.#split(file, (share) => share.client === client)
      this.#remove(file, own, others)
    }
  }

  /** Whether a client has a reservation. */
  hasClient(client: string): boolean {
    return this.#clients.has(client)
  }

  #isFull(inFile: readonly Share[], { client, owner }: Share): boolean {
    const { total, perClient, perFile, perFileAndClient, ownerBytes, ownerBytesPerClient } = this.#limits
    const address = addressOfClient(client)
    const used = this.#addresses.get(address) ?? { shares: 0, ownerBytes: 0 }
    if (this.#size >= total || used.shares >= perClient || inFile.length >= perFile) return true
    if (this.#ownerBytes + owner.length > ownerBytes) return true
    if (used.ownerBytes + owner.length > ownerBytesPerClient) return true
    return inFile.filter((share) => addressOfClient(share.client) === address).length >= perFileAndClient
  }

  #count(file: string, { client, owner }: Share, change: 1 | -1): void {
    this.#size += change
    this.#ownerBytes += change * owner.length
    const address = addressOfClient(client)
    const used = this.#addresses.get(address) ?? { shares: 0, ownerBytes: 0 }
    used.shares += change
    used.ownerBytes += change * owner.length
    if (used.shares === 0) this.#addresses.delete(address)
    else this.#addresses.set(address, used)
    const files = this.#clients.get(client) ?? new Map<string, number>()
    const count = (files.get(file) ?? 0) + change
    if (count === 0) files.delete(file)
    else files.set(file, count)
    if (files.size === 0) this.#clients.delete(client)
    else this.#clients.set(client, files)
  }

  #split(file: string, isOwn: (share: Share) => boolean): { own: readonly Share[]; others: readonly Share[] } {
    const shares = this.#files.get(file) ?? []
    return { own: shares.filter(isOwn), others: shares.filter((share) => !isOwn(share)) }
  }

  #remove(file: string, gone: readonly Share[], left: readonly Share[]): void {
    for (const share of gone) this.#count(file, share, -1)
    if (left.length === 0) this.#files.delete(file)
    else this.#files.set(file, left)
  }
}
