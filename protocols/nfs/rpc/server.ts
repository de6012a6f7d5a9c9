import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { BusyPoll } from './busy-poll.ts'
import { type Peer, plainAddress } from './call.ts'
import { CallDigest } from './call-digest.ts'
import { ChunkPool } from './chunk-pool.ts'
import { ClientShares, type ShareLimits } from './client-share.ts'
import { Connection, type ConnectionContext, type ConnectionLimits } from './connection.ts'
import { type Counters, newCounters } from './counters.ts'
import { Dispatcher } from './dispatcher.ts'
import { DuplicateCache } from './duplicate-cache.ts'
import { GroupCache, type GroupsOf } from './group-cache.ts'
import type { Logger } from './logger.ts'
import { ProgramTable, type RpcProgram } from './program.ts'
import type { ReplyStore } from './reply-store.ts'

/** How an RPC server listens and what it allows. */
export interface RpcServerOptions extends ConnectionLimits, ShareLimits {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  readonly programs: readonly RpcProgram[]
  readonly log: Logger
  /** A clock that never goes back, in ms. */
  readonly now: () => number
  /** Groups of users by this machine, in place of those that clients send; those are believed unless given. */
  readonly groupsOf?: GroupsOf | undefined
  /** Whether an address has any business here; all have unless given. */
  readonly isClient?: (address: string) => boolean
  /** Where calls that must not be done twice are kept for the next process. */
  readonly replies?: ReplyStore | undefined
  /** The secret by which calls are told apart, of `DIGEST_KEY_BYTES`; that of `replies` where those are given. */
  readonly callKey: Uint8Array
  readonly maxConnections: number
  /** A connection without a request for this long is closed. */
  readonly idleMs: number
  /** A connection whose peer stops within a message, or takes no replies, for this long is closed. */
  readonly stallMs: number
  /** How long `close` waits for calls under way and for replies to be taken. */
  readonly closeMs: number
}

/** Room in a block beside the largest record: read ahead of the next record, or the head of a reply. */
const SLACK_BYTES = 64 * 1024
const SMALL_BLOCK_BYTES = 128 * 1024
/** What the large records and replies of all connections may take, half received or not yet taken by their clients. */
const MOST_LARGE_BYTES = 96 * 1024 * 1024
/** How often memory is looked after, and after how many times what nobody needed is let go, ms. */
const RELIEF_MS = 250
const RELIEFS_PER_TRIM = 8
/** While memory is short a connection may hold a large block for so long, ms. */
const HOARD_MS = 2_000
/** How often the quiet connections are looked for, as a part of the shorter time limit. */
const SWEEPS_PER_LIMIT = 4

/** Serves RPC programs on a TCP port (RFC 5531). */
export class RpcServer {
  readonly counters: Counters = newCounters()
  readonly #options: RpcServerOptions
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  readonly #duplicates: DuplicateCache
  readonly #shares: ClientShares
  readonly #context: ConnectionContext
  #sweeper: NodeJS.Timeout | undefined
  #relief: NodeJS.Timeout | undefined
  #reliefs = 0

  constructor(options: RpcServerOptions) {
    this.#options = options
    this.#shares = new ClientShares(options)
    const { log, now, groupsOf, replies, callKey, isClient = () => true } = options
    this.#duplicates = new DuplicateCache(new CallDigest(replies?.key ?? callKey), undefined, replies, now())
    const groups = groupsOf && new GroupCache(groupsOf, now, log, isClient)
    this.#context = {
      pool: new ChunkPool({
        smallBytes: SMALL_BLOCK_BYTES,
        largeBytes: options.maxRecordBytes + SLACK_BYTES,
        // Blocks that are let go and made anew cost far more than their memory: V8 collects all garbage each time some 30 MB of them have piled up.
        keepSmall: 128,
        // All that may exist: a block released under load becomes garbage, which V8 collects too late. `trim` releases the unused ones.
        keepLarge: Math.ceil(MOST_LARGE_BYTES / (options.maxRecordBytes + SLACK_BYTES)),
        mostLargeBytes: MOST_LARGE_BYTES,
      }),
      dispatcher: new Dispatcher(new ProgramTable(options.programs), this.counters, log, now, groups),
      counters: this.counters,
      limits: options,
      log,
      now,
      busyPoll: new BusyPoll(now),
    }
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket))
  }

  /** Starts to listen; resolves with the address. Rejects with the system's error when the port is not to be had. */
  listen(): Promise<AddressInfo> {
    const { host, port, log, idleMs, stallMs } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', (error) => log.error({ err: error }, 'cannot accept a connection'))
        this.#sweeper = setInterval(
          () => this.#sweep(),
          Math.max(1, Math.min(idleMs, stallMs) / SWEEPS_PER_LIMIT),
        ).unref()
        this.#relief = setInterval(() => this.#relieve(), RELIEF_MS).unref()
        resolve(this.#server.address() as AddressInfo)
      })
    })
  }

  /** Accepts and reads no more, lets calls under way finish and their replies leave, and closes all connections. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    clearInterval(this.#relief)
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const connections = [...this.#connections]
    for (const connection of connections) connection.drain()
    const late = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, this.#options.closeMs)
    await Promise.all(connections.map((connection) => connection.closed))
    clearTimeout(late)
    await stopped
  }

  #accept(socket: Socket): void {
    const { log, maxConnections } = this.#options
    const peer = peerOf(socket)
    if (this.#connections.size >= maxConnections) this.#closeIdlest()
    const share = peer && this.#connections.size < maxConnections ? this.#shares.connected(peer.address) : undefined
    if (peer === undefined || share === undefined) {
      this.counters.connectionsRefused++
      log.warn({ client: peer?.address }, 'refused a connection: too many are open')
      socket.on('error', (error) => log.debug({ why: error.message }, 'error on a refused connection'))
      socket.destroy()
      return
    }
    this.counters.connections++
    try {
      const client = { share, duplicates: this.#duplicates.connected(peer.address) }
      const connection = new Connection(socket, peer, client, this.#context)
      this.#connections.add(connection)
      connection.closed.then(() => this.#connections.delete(connection))
      log.debug({ client: peer.address, port: peer.port }, 'connection')
    } catch (error) {
      log.error({ err: error, client: peer.address }, 'cannot serve a connection')
      socket.destroy()
    }
  }

  /** Closes the connection that has been idle for longest, if any is, in favour of a new one. */
  #closeIdlest(): void {
    const nowMs = this.#options.now()
    let idlest: Connection | undefined
    let longestMs = -1
    for (const connection of this.#connections) {
      const { ms, kind } = connection.quiet(nowMs)
      if (kind !== 'idle' || ms <= longestMs) continue
      idlest = connection
      longestMs = ms
    }
    if (idlest === undefined) return
    this.counters.idle++
    // It is gone at once; that its socket is closed is reported later.
    this.#connections.delete(idlest)
    idlest.destroy()
  }

  /** While memory for large records and replies is short, closes the connections that hold it up; afterwards lets those go on that wait for it. */
  #relieve(): void {
    const { pool } = this.#context
    const { now, log } = this.#options
    if (++this.#reliefs % RELIEFS_PER_TRIM === 0) pool.trim()
    const nowMs = now()
    const { full } = pool
    for (const connection of this.#connections) {
      const heldMs = connection.hoards(nowMs)
      if (full && heldMs >= HOARD_MS) {
        this.counters.stalled++
        log.debug({ client: connection.peer.address }, 'closed a connection to free memory that others need')
        connection.destroy()
      } else if (!full) connection.feed()
    }
  }

  #sweep(): void {
    const { idleMs, stallMs, now, log } = this.#options
    const nowMs = now()
    for (const connection of this.#connections) {
      const { ms, kind } = connection.quiet(nowMs)
      if (kind === 'busy' || ms < (kind === 'idle' ? idleMs : stallMs)) continue
      this.counters[kind]++
      log.debug({ client: connection.peer.address, kind }, 'connection closed')
      connection.destroy()
    }
  }
}

function peerOf(socket: Socket): Peer | undefined {
  const { remoteAddress, remotePort, localAddress } = socket
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  return {
    address: plainAddress(remoteAddress),
    port: remotePort,
    localAddress: localAddress === undefined ? undefined : plainAddress(localAddress),
    transport: 'tcp',
    complained: false,
  }
}
