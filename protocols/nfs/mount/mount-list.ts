import { LRUCache } from 'lru-cache'

/** Entries remembered; the oldest goes first, as clients that crash never unmount. */
const MAX_MOUNTS = 1024

/** One line of DUMP. */
export interface MountEntry {
  /** Address of the client. */
  readonly client: string
  /** As it was asked for in MNT. */
  readonly path: string
}

/** Who has mounted what, as far as the server was told. Advisory only (RFC 1813 section 5.2.2): nothing depends on it. */
export class MountList {
  readonly #entries = new LRUCache<string, MountEntry>({ max: MAX_MOUNTS })

  /** Notes a mount. */
  add(client: string, path: string): void {
    this.#entries.set(`${client} ${path}`, { client, path })
  }

  /** Forgets a mount. */
  remove(client: string, path: string): void {
    this.#entries.delete(`${client} ${path}`)
  }

  /** Forgets all mounts of a client. */
  removeAll(client: string): void {
    for (const [key, entry] of [...this.#entries.entries()]) {
      if (entry.client === client) this.#entries.delete(key)
    }
  }

  /** All mounts, oldest first. */
  entries(): MountEntry[] {
    return [...this.#entries.rvalues()].filter((entry) => entry !== undefined)
  }
}
