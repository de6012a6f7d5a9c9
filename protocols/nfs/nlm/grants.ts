import type { Lock } from '../locks/file-locks.ts'
import type { LockTable } from '../locks/lock-table.ts'
import { destinationOf } from '../portmap/port-of.ts'
import type { Logger } from '../rpc/logger.ts'
import type { RpcCaller } from '../rpc/rpc-caller.ts'
import { MAXNETOBJ_SZ, NLM_PROGRAM, NLM_V4, NLM4_GRANTED, NLMPROC4_GRANTED, NLMPROC4_GRANTED_MSG } from './constants.ts'
import type { NlmHost } from './hosts.ts'
import { encodeLock, type NlmLock } from './messages.ts'

/** How long the server tries to deliver a granted lock to a client before it releases the lock. */
const RETRY_MS = 5000
const ATTEMPTS = 24
const COOKIE_BYTES = 8

/** A lock that was granted after a wait, and whose client is being notified. */
interface Pending {
  readonly id: string
  readonly cookie: Buffer
  readonly file: string
  readonly lock: Lock
  readonly wire: NlmLock
  readonly host: NlmHost
  /** Whether the client uses the _MSG procedures, whose replies are separate calls. */
  readonly message: boolean
  timer: NodeJS.Timeout | undefined
}

/** A lock that is granted after a wait. */
export type Grantable = Pick<Pending, 'file' | 'lock' | 'wire' | 'host' | 'message'>

/**
 * Notifies clients that a lock they wait for was granted (NLM_GRANTED). The lock is already set, so that nobody else gets it meanwhile; if a client no longer
 * wants it, it says so and the lock is released.
 */
export class Grants {
  readonly #pending = new Map<string, Pending>()
  readonly #caller: RpcCaller
  readonly #locks: LockTable
  readonly #log: Logger
  readonly #portmapPort: number | undefined
  readonly #random: (length: number) => Uint8Array

  constructor(parts: {
    caller: RpcCaller
    locks: LockTable
    log: Logger
    random: (length: number) => Uint8Array
    portmapPort?: number | undefined
  }) {
    this.#random = parts.random
    this.#caller = parts.caller
    this.#locks = parts.locks
    this.#log = parts.log
    this.#portmapPort = parts.portmapPort
  }

  /** Starts to notify a client. */
  begin(grantable: Grantable): void {
    // Nobody can guess it and reply in place of the client.
    const cookie = Buffer.from(this.#random(COOKIE_BYTES))
    const id = idOf(grantable.file, grantable.lock)
    const pending: Pending = { ...grantable, id, cookie, timer: undefined }
    this.#drop(id)
    this.#pending.set(id, pending)
    this.#try(pending, 1)
  }

  /** The client already knows, because it retransmitted its request and got the reply. */
  known(file: string, lock: Lock): void {
    this.#drop(idOf(file, lock))
  }

  /** The client stops waiting. True if the lock was already granted without its knowledge; it is then released. */
  cancel(file: string, lock: Lock): boolean {
    const dropped = this.#drop(idOf(file, lock))
    if (dropped) this.#locks.unlock(file, lock.owner, lock)
    return dropped
  }

  /** Handles the reply to a GRANTED_MSG from the client at `address`; replies of others are ignored. */
  answered(address: string, cookie: Uint8Array, status: number): void {
    for (const pending of this.#pending.values()) {
      if (pending.host.address === address && pending.cookie.equals(cookie)) this.#end(pending, status)
    }
  }

  /** Forgets a client that is gone. The caller releases its locks. */
  freeClient(client: string): void {
    for (const { id, lock } of [...this.#pending.values()]) if (lock.owner.client === client) this.#drop(id)
  }

  stop(): void {
    for (const id of [...this.#pending.keys()]) this.#drop(id)
  }

  #try(pending: Pending, attempt: number): void {
    this.#tell(pending).then(
      (status) => {
        if (status !== undefined) this.#end(pending, status)
        else this.#later(pending, attempt)
      },
      (error) => {
        this.#log.debug(
          { err: error, client: pending.host.address, attempt },
          'cannot notify a client that its lock was granted',
        )
        this.#later(pending, attempt)
      },
    )
  }

  /** Makes the call; resolves with the client's `nlm4_stats`, or undefined if that comes in a separate call. */
  async #tell({ host, cookie, lock, wire, message }: Pending): Promise<number | undefined> {
    const where = { address: host.address, program: NLM_PROGRAM, version: NLM_V4, transport: host.transport }
    const to = await destinationOf(this.#caller, where, this.#portmapPort)
    const procedure = message ? NLMPROC4_GRANTED_MSG : NLMPROC4_GRANTED
    const reply = await this.#caller.call(to, { program: NLM_PROGRAM, version: NLM_V4, procedure }, (out) => {
      out.opaque(cookie)
      out.bool(lock.exclusive)
      encodeLock(out, wire)
    })
    if (message) return undefined
    reply.opaque(MAXNETOBJ_SZ)
    return reply.u32()
  }

  #later(pending: Pending, attempt: number): void {
    if (this.#pending.get(pending.id) !== pending) return
    if (attempt === ATTEMPTS) {
      this.#log.warn({ client: pending.host.address }, 'client did not accept the lock that it had waited for')
      this.#end(pending, undefined)
      return
    }
    pending.timer = setTimeout(() => this.#try(pending, attempt + 1), RETRY_MS).unref()
  }

  #end(pending: Pending, status: number | undefined): void {
    if (this.#pending.get(pending.id) !== pending) return
    this.#drop(pending.id)
    if (status !== NLM4_GRANTED) this.#locks.unlock(pending.file, pending.lock.owner, pending.lock)
  }

  #drop(id: string): boolean {
    clearTimeout(this.#pending.get(id)?.timer)
    return this.#pending.delete(id)
  }
}

function idOf(file: string, { owner, start, end }: Lock): string {
  return `${file} ${start} ${end} ${owner.key}`
}
