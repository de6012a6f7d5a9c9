import { LRUCache } from 'lru-cache'

/** The maximum number of entries; the oldest is dropped first, because crashed clients never unmount. */
const MAX_MOUNTS = 1024

/** One line of DUMP. */
export interface MountEntry {
  /** Address of the client. */
  readonly client: string
  /** The path given in MNT. */
  readonly path: string
}

/** The known mounts of clients. Advisory only (RFC 1813 section 5.2.2): nothing depends on it. */
export class MountList {
  readonly #entries = new LRUCache<string, MountEntry>({ max: MAX_MOUNTS })

  /** Records a mount. */
  add(client: string, path: string): void {
    this.#entries.set(`${client} ${path}`, { client, path })
  }

  /** Removes a mount. */
  remove(client: string, path: string): void {
    this.#entries.delete(`${client} ${path}`)
  }

  /** Removes all mounts of a client. */
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
