import type { Logger } from '../rpc/logger.ts'

/** The addresses of a host name; rejects when it has none. */
export type LookUp = (hostName: string) => Promise<readonly string[]>

/** How often the names are looked up again. */
const REFRESH_MS = 5 * 60_000

/**
 * The addresses of the host names in export rules. They are looked up one after the other, as each look-up may hold a thread for long, and again
 * every five minutes; a name that cannot be looked up keeps its last addresses, and has none before.
 */
export class HostNames {
  readonly #addresses = new Map<string, Set<string>>()
  readonly #lookUp: LookUp
  readonly #log: Logger
  #timer: NodeJS.Timeout | undefined

  constructor(lookUp: LookUp, log: Logger) {
    this.#lookUp = lookUp
    this.#log = log
  }

  /** The addresses of a name; the set changes when they do. */
  addressesOf(name: string): ReadonlySet<string> {
    const known = this.#addresses.get(name)
    if (known !== undefined) return known
    const fresh = new Set<string>()
    this.#addresses.set(name, fresh)
    return fresh
  }

  /** Looks all names up, now and from time to time. Resolves after the first time. */
  async start(): Promise<void> {
    if (this.#addresses.size === 0) return
    await this.refresh()
    this.#timer = setInterval(() => this.refresh(), REFRESH_MS).unref()
  }

  /** Looks all names up. Never rejects. */
  async refresh(): Promise<void> {
    for (const [name, addresses] of this.#addresses) {
      try {
        const found = await this.#lookUp(name)
        addresses.clear()
        for (const address of found) addresses.add(address)
      } catch (error) {
        this.#log.warn({ err: error, host: name }, 'cannot look up the host of an export rule')
      }
    }
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
