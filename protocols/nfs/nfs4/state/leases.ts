import { after, isErrno, loopBudget } from '../../../../overlay-core/index.ts'
import type { NfsMember } from '../../exports/served-view.ts'
import type { Nfs4Client } from './client.ts'
import type { ClientTable } from './client-table.ts'
import type { Reclaims } from './reclaims.ts'
import type { StateTable } from './state-table.ts'

/** How long a client keeps what nobody else wants after its lease has expired. */
const COURTESY_MS = 24 * 60 * 60_000
const SWEEPS_PER_LEASE = 4

/**
 * The leases of clients (RFC 8881 section 8.3). A client that has not been heard of for longer than its lease keeps what it holds until that is in the way of somebody else, or room is
 * needed, or a day has passed: a laptop that was asleep, or a network that was gone, loses nothing.
 */
export class Leases {
  readonly #clients: ClientTable
  readonly #states: StateTable
  readonly #reclaims: Reclaims
  readonly #now: () => number
  readonly #leaseMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(parts: {
    clients: ClientTable
    states: StateTable
    reclaims: Reclaims
    now: () => number
    leaseMs: number
  }) {
    this.#clients = parts.clients
    this.#states = parts.states
    this.#reclaims = parts.reclaims
    this.#now = parts.now
    this.#leaseMs = parts.leaseMs
  }

  start(): void {
    this.#timer = setInterval(() => void this.sweep(), this.#leaseMs / SWEEPS_PER_LEASE).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  isExpired({ renewedMs }: Nfs4Client): boolean {
    return this.#now() - renewedMs > this.#leaseMs
  }

  /** Ends a client of a lock that is in the way in `file`, if it is gone. */
  endIfGone(key: string, file: string): boolean {
    const client = this.#clients.byKey(key)
    if (client === undefined || !this.isExpired(client)) return false
    this.#end(client, file)
    return true
  }

  /** Ends the clients with `file` open that are gone. Returns whether there were any. */
  endGone(file: string): boolean {
    let any = false
    for (const client of this.#states.clientsOf(file)) {
      if (!this.isExpired(client)) continue
      this.#end(client, file)
      any = true
    }
    return any
  }

  /** Makes room for others: the client that has been gone longest ends. Returns whether there was one. */
  makeRoom(): boolean {
    const client = this.#clients.longestGone(this.#now() - this.#leaseMs)
    if (client === undefined) return false
    this.#end(client, undefined)
    return true
  }

  /** Ends clients that hold nothing or have been gone for a day. Views in which one that is there has files open are not idle. */
  async sweep(): Promise<void> {
    const nowMs = this.#now()
    for (const client of [...this.#clients]) {
      if (loopBudget.spent) await loopBudget.rest()
      const silentMs = nowMs - client.renewedMs
      if (silentMs <= this.#leaseMs) for (const member of client.members.keys()) touch(member)
      else if (!client.confirmed || client.states.size === 0 || silentMs > COURTESY_MS) this.#end(client, undefined)
    }
  }

  #end(client: Nfs4Client, file: string | undefined): void {
    if (file !== undefined) this.#states.freeFile(client, file)
    if (client.confirmed) this.#reclaims.forget(client)
    this.#clients.drop(client)
  }
}

/** Uses a view for a moment. One that was removed or cannot be opened is no matter of leases. */
function touch(member: NfsMember): void {
  try {
    const used = after(member.use(), () => member.release())
    if (used instanceof Promise) used.catch(() => undefined)
  } catch (error) {
    if (!isErrno(error)) throw error
  }
}
