import type { Journal } from '../../../../overlay-core/index.ts'
import type { GracePeriod } from '../../locks/grace-period.ts'
import type { Nfs4Client } from './client.ts'

/**
 * Which clients may reclaim what they held before a restart (RFC 8881 section 8.4.2): those in a list that survives. Grace, in which nobody else gets anything, is over as
 * soon as all of them have.
 */
export class Reclaims {
  readonly #journal: Journal
  readonly #grace: GracePeriod
  /** The owners of the last run that have not reclaimed everything yet. */
  readonly #waiting = new Set<string>()
  /** The owners with a client of this run. */
  readonly #back = new Set<string>()
  /** The owners in the list. */
  readonly #recorded = new Set<string>()

  constructor(journal: Journal, grace: GracePeriod, failed: (error: unknown) => void) {
    this.#journal = journal
    this.#grace = grace
    for (const record of journal.takeRecords()) {
      const owner = Buffer.from(record.slice(1), 'hex').toString('latin1')
      if (record.startsWith('+')) this.#waiting.add(owner)
      else this.#waiting.delete(owner)
    }
    for (const owner of this.#waiting) this.#recorded.add(owner)
    const recorded = this.#recorded
    journal.keepShort({
      count: () => recorded.size,
      records: () => [...recorded].map((owner) => record('+', owner)),
      failed,
    })
  }

  /** Whether a client of the last run may still reclaim. */
  get pending(): boolean {
    return this.#waiting.size > 0
  }

  /** Whether this client may reclaim now. */
  may(client: Nfs4Client): boolean {
    return this.#grace.isFor('nfs4') && !client.reclaimComplete && this.#waiting.has(client.owner)
  }

  /** The client has reclaimed all that it wants. Resolves when it may do so after the next restart. */
  async completed(client: Nfs4Client): Promise<void> {
    client.reclaimComplete = true
    if (this.#waiting.delete(client.owner)) this.#endIfDone()
    await this.record(client)
  }

  /** Grace is over: who has not come back loses what it held. */
  graceOver(): void {
    for (const owner of this.#waiting) {
      if (!this.#back.has(owner)) this.#strike(owner)
    }
    this.#waiting.clear()
  }

  /** Puts a client on the list. */
  async record(client: Nfs4Client): Promise<void> {
    if (client.recorded) return
    this.#back.add(client.owner)
    if (!this.#recorded.has(client.owner)) await this.#journal.append(record('+', client.owner))
    this.#recorded.add(client.owner)
    client.recorded = true
  }

  /** Takes a client off the list, because it holds nothing any more. */
  forget(client: Nfs4Client): void {
    this.#back.delete(client.owner)
    if (this.#waiting.delete(client.owner)) this.#endIfDone()
    this.#strike(client.owner)
  }

  #strike(owner: string): void {
    if (!this.#recorded.delete(owner)) return
    // A client that stays on the list is waited for in vain once.
    this.#journal.append(record('-', owner)).catch(() => undefined)
  }

  #endIfDone(): void {
    if (this.#waiting.size === 0) this.#grace.end('nfs4')
  }
}

function record(sign: '+' | '-', owner: string): string {
  return `${sign}${Buffer.from(owner, 'latin1').toString('hex')}`
}
