import { hash } from 'node:crypto'
import { type ByteRange, LAST_BYTE } from './locks/byte-range.ts'
import type { Lock } from './locks/file-locks.ts'
import { freeHost } from './nlm/free-all.ts'
import type { NlmContext } from './nlm/nlm-context.ts'

/** A byte-range lock as administrators see it. */
export interface HeldLock {
  /** Names it for `end`. */
  readonly id: string
  /** The view, as in `ServedView.label`; undefined if it is not served any more. */
  readonly view: string | undefined
  /** The file id, as `ls -i` of a client shows it. */
  readonly file: number
  /** The address of the client, and the name that it gives itself. */
  readonly client: string
  readonly clientName: string
  readonly exclusive: boolean
  readonly start: bigint
  /** Inclusive; undefined: to the end of the file. */
  readonly end: bigint | undefined
}

/** What looks at the locks of NFS clients, and breaks them. */
export class HeldLocks {
  readonly #context: NlmContext

  constructor(context: NlmContext) {
    this.#context = context
  }

  /** The number of locks of all clients. */
  get size(): number {
    return this.#context.locks.size
  }

  /** The number of locks of the clients at each address; of those with a certificate by its owner. */
  get byClient(): ReadonlyMap<string, number> {
    return this.#context.locks.byAddress
  }

  /** Locks, until the caller has seen enough. The iterator must not be kept across turns of the event loop. */
  *list(): Generator<HeldLock> {
    for (const { file, lock } of this.#context.locks.all()) yield this.#describe(file, lock)
  }

  /** Breaks a lock: its client is not told, as it cannot be. Returns it; undefined if there is none with this id. */
  end(id: string): HeldLock | undefined {
    const file = /^nfs:(\d+\.\d+:\d+:\d+):\d+:[0-9a-f]+$/.exec(id)?.[1]
    if (file === undefined) return undefined
    const { locks } = this.#context
    const lock = locks.of(file).find((each) => idOf(file, each) === id)
    if (lock === undefined) return undefined
    const described = this.#describe(file, lock)
    const range: ByteRange = lock
    locks.unlock(file, lock.owner, range)
    return described
  }

  /** Releases all locks and reservations of the clients at an address. Returns how many clients there were. */
  endOf(address: string): number {
    const hosts = this.#context.hosts.at(address)
    for (const { key } of hosts) freeHost(this.#context, key)
    return hosts.length
  }

  #describe(file: string, lock: Lock): HeldLock {
    const [, viewHi, view, key] = (/^(\d+)\.(\d+):(\d+):/.exec(file) ?? []).map(Number)
    const { client } = lock.owner
    const host = this.#context.hosts.byKey(client)
    const [address = client] = client.split(' ', 1)
    return {
      id: idOf(file, lock),
      view: this.#context.exports.byNumber(viewHi ?? 0, view ?? 0)?.label,
      file: key ?? 0,
      client: host?.address ?? address,
      clientName: host?.name ?? client.slice(address.length + 1),
      exclusive: lock.exclusive,
      start: lock.start,
      end: lock.end === LAST_BYTE ? undefined : lock.end,
    }
  }
}

/** Owners may hold shared locks on the same range. */
function idOf(file: string, { start, owner }: Lock): string {
  return `nfs:${file}:${start}:${hash('sha256', owner.key, 'hex').slice(0, 12)}`
}
