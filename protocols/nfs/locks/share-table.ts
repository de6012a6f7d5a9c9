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

/** How many opens of version 4 have, and deny, each access to a file. */
class OpenCounts {
  readonly access = [0, 0]
  readonly deny = [0, 0]
  opens = 0

  add(access: number, deny: number, change: 1 | -1): void {
    this.opens += change
    for (let bit = 0; bit < 2; bit++) {
      if ((access >> bit) & 1) this.access[bit]! += change
      if ((deny >> bit) & 1) this.deny[bit]! += change
    }
  }

  conflicts(access: number, deny: number): boolean {
    for (let bit = 0; bit < 2; bit++) {
      if ((access >> bit) & 1 && this.deny[bit]! > 0) return true
      if ((deny >> bit) & 1 && this.access[bit]! > 0) return true
    }
    return false
  }
}

/**
 * Share reservations of all files: those of NLM SHARE by owner, and those of OPEN in version 4, whose owners are kept with its other state, as counts.
 */
export class ShareTable {
  readonly #files = new Map<string, readonly Share[]>()
  readonly #opens = new Map<string, OpenCounts>()
  /** The files with reservations of each client, and their number in each. */
  readonly #clients = new Map<string, Map<string, number>>()
  readonly #addresses = new Map<string, Used>()
  readonly #limits: ShareLimits
  readonly #endGone: (file: string) => boolean
  #size = 0
  #ownerBytes = 0

  /** `endGone` is called if an open of version 4 is in the way: those of clients that have not been heard of for too long end, and the result is whether there were any. */
  constructor(limits: Partial<ShareLimits> = {}, endGone: (file: string) => boolean = () => false) {
    this.#limits = { ...LIMITS, ...limits }
    this.#endGone = endGone
  }

  get size(): number {
    return this.#size
  }

  /** Counts an open of version 4; false if another reservation denies it, or has what it denies. */
  open(file: string, access: number, deny: number): boolean {
    if (this.denies(file, access, deny)) return false
    const counts = this.#opens.get(file) ?? new OpenCounts()
    counts.add(access, deny, 1)
    this.#opens.set(file, counts)
    return true
  }

  /** Ends an open of version 4. */
  close(file: string, access: number, deny: number): void {
    const counts = this.#opens.get(file)
    if (counts === undefined) return
    counts.add(access, deny, -1)
    if (counts.opens === 0) this.#opens.delete(file)
  }

  /** Whether a reservation of a file denies `access`, or has what `deny` would deny. */
  denies(file: string, access: number, deny = 0): boolean {
    if (this.#conflictsWithOpens(file, access, deny)) return true
    return this.#files.get(file)?.some((share) => share.access & deny || access & share.deny) ?? false
  }

  /** Reserves, replacing the owner's reservation. */
  reserve(file: string, wanted: Share): 'granted' | 'denied' | 'full' {
    const { own, others } = this.#split(file, ({ owner }) => owner === wanted.owner)
    if (this.#conflictsWithOpens(file, wanted.access, wanted.deny)) return 'denied'
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

  #conflictsWithOpens(file: string, access: number, deny: number): boolean {
    const conflicts = () => this.#opens.get(file)?.conflicts(access, deny) ?? false
    return conflicts() && !(this.#endGone(file) && !conflicts())
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
