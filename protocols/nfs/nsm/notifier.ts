import { destinationOf } from '../portmap/port-of.ts'
import type { Logger } from '../rpc/logger.ts'
import type { RpcCaller } from '../rpc/rpc-caller.ts'
import { NSM_PROGRAM, NSM_V1, SM_NOTIFY } from './constants.ts'
import type { NsmPeer, PeerList } from './peer-list.ts'

/** The first pause between attempts, which doubles each time up to a minute. */
const FIRST_RETRY_MS = 1000
const MAX_RETRY_MS = 60_000
/** A machine that is away for this long will not come back with its locks. */
const ATTEMPTS = 20

/** Notifies peers that this server has restarted (SM_NOTIFY) until they reply; they then reclaim their locks. */
export class Notifier {
  readonly #caller: RpcCaller
  readonly #peers: PeerList
  readonly #hostName: string
  readonly #log: Logger
  readonly #portmapPort: number | undefined
  readonly #timers = new Set<NodeJS.Timeout>()
  #stopped = false

  /** `hostName` is the name of this machine; `portmapPort` is the port of the peers' portmapper, 111 by default. */
  constructor(parts: {
    caller: RpcCaller
    peers: PeerList
    hostName: string
    log: Logger
    portmapPort?: number | undefined
  }) {
    this.#caller = parts.caller
    this.#peers = parts.peers
    this.#hostName = parts.hostName
    this.#log = parts.log
    this.#portmapPort = parts.portmapPort
  }

  /** Starts to notify all peers of earlier runs. */
  start(): void {
    for (const peer of this.#peers.toNotify) this.#try(peer, 1)
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
  }

  #try(peer: NsmPeer, attempt: number): void {
    this.#notify(peer).then(
      () => this.#log.info({ client: peer.address, name: peer.name }, 'client was notified of the restart'),
      (error) => this.#later(peer, attempt, error),
    )
  }

  async #notify(peer: NsmPeer): Promise<void> {
    const where = { address: peer.address, program: NSM_PROGRAM, version: NSM_V1, transport: 'udp' as const }
    const to = await destinationOf(this.#caller, where, this.#portmapPort)
    const what = { program: NSM_PROGRAM, version: NSM_V1, procedure: SM_NOTIFY }
    // A client monitors the server by the name or address that it mounted, so send both; it ignores the unknown one.
    for (const name of new Set([peer.ourAddress ?? this.#hostName, this.#hostName])) {
      await this.#caller.call(to, what, (out) => {
        out.string(name)
        out.u32(this.#peers.state)
      })
    }
    await this.#peers.notified(peer)
  }

  #later(peer: NsmPeer, attempt: number, error: unknown): void {
    if (this.#stopped) return
    this.#log.debug({ err: error, client: peer.address, attempt }, 'cannot notify a client of the restart')
    if (attempt === ATTEMPTS) {
      this.#log.warn(
        { client: peer.address, name: peer.name },
        'client was never notified of the restart, so it has lost its locks',
      )
      this.#peers
        .notified(peer)
        .catch((failure) => this.#log.error({ err: failure }, 'cannot update the list of lock clients'))
      return
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer)
        this.#try(peer, attempt + 1)
      },
      Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (attempt - 1)),
    ).unref()
    this.#timers.add(timer)
  }
}
