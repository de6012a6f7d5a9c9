import type { Logger } from '../rpc/logger.ts'

/** Resolves a host name to its addresses; rejects if it has none. */
export type LookUp = (hostName: string) => Promise<readonly string[]>

/** The interval between lookups. */
const REFRESH_MS = 5 * 60_000

/**
 * The addresses of the host names in export rules. They are looked up one at a time, because each lookup may block a thread for long, and again
 * every five minutes. If a lookup fails, the name keeps its last addresses.
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

  /** The addresses of a name. The set is updated when they change. */
  addressesOf(name: string): ReadonlySet<string> {
    const known = this.#addresses.get(name)
    if (known !== undefined) return known
    const fresh = new Set<string>()
    this.#addresses.set(name, fresh)
    return fresh
  }

  /** Looks up all names, now and periodically. Resolves after the first round. */
  async start(): Promise<void> {
    if (this.#addresses.size === 0) return
    await this.refresh()
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.refresh(), REFRESH_MS).unref()
  }

  /** Looks up all names. Never rejects. */
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
