import { type AddressInfo, createServer, type Server, type ServerOpts, type Socket } from 'node:net'
import { BusyPoll } from './busy-poll.ts'
import { type Peer, plainAddress } from './call.ts'
import { CallDigest } from './call-digest.ts'
import { ChunkPool } from './chunk-pool.ts'
import { type ClientShare, ClientShares, type ShareLimits } from './client-share.ts'
import { Connection, type ConnectionContext, type ConnectionLimits } from './connection.ts'
import { type Counters, newCounters } from './counters.ts'
import { Dispatcher } from './dispatcher.ts'
import { DuplicateCache, type DuplicateLimits } from './duplicate-cache.ts'
import { GroupCache, type GroupsOf } from './group-cache.ts'
import type { Logger } from './logger.ts'
import { type PeerUse, PeerUses } from './peer-uses.ts'
import { ProgramTable, type RpcProgram } from './program.ts'
import type { ReplyStore } from './reply-store.ts'
import type { StartTls } from './start-tls.ts'

/**
 * Lets a listening server with these options accept several connections in one turn of the event loop, of which at most `most` are open. Returns a function that stops it and resolves when these connections
 * are closed.
 */
export type AcceptMore = (server: Server, options: ServerOpts, most: number) => () => Promise<void>

/** The options and limits of an RPC server. */
export interface RpcServerOptions extends ConnectionLimits, ShareLimits {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  /** The descriptor of a socket that listens there already. */
  readonly socket?: number | undefined
  readonly programs: readonly RpcProgram[]
  readonly log: Logger
  /** A monotonic clock, in ms. */
  readonly now: () => number
  /** Looks up the groups of users on this machine; without it, the groups from clients are used. */
  readonly groupsOf?: GroupsOf | undefined
  /** Whether an address may use the server; all may by default. */
  readonly isClient?: (address: string) => boolean
  /** The store of non-idempotent calls for the next process. */
  readonly replies?: ReplyStore | undefined
  /** The secret of the call checksums, of `DIGEST_KEY_BYTES`; that of `replies` if given. */
  readonly callKey: Uint8Array
  /** How many calls are cached for retransmissions; the defaults of `DuplicateCache` if missing. */
  readonly duplicates?: DuplicateLimits
  readonly maxConnections: number
  /** Encrypts connections whose client asks for it. */
  readonly startTls?: StartTls | undefined
  /** Without it, one connection is accepted in each turn of the event loop. */
  readonly acceptMore?: AcceptMore | undefined
  /** A connection without a request for this long is closed. */
  readonly idleMs: number
  /** A connection whose peer stops sending a message or reading replies for this long is closed. */
  readonly stallMs: number
  /** How long `close` waits for calls in progress and for replies to be read. */
  readonly closeMs: number
}

/** An open connection, for people who look. */
export interface OpenConnection {
  readonly peer: Pick<Peer, 'address' | 'port' | 'security' | 'identity'>
  /** For how long nothing came or went, in ms. */
  readonly quietMs: number
  readonly uses: readonly PeerUse[]
}

/** Connections are read from once they are in their own sockets. */
const SOCKETS = { pauseOnConnect: true }
/** The number of connections that wait to be accepted. */
const BACKLOG = 4096
/** Space in a block besides the largest record: for reading ahead, or for the header of a reply. */
const SLACK_BYTES = 64 * 1024
const SMALL_BLOCK_BYTES = 128 * 1024
/** The memory limit for partially received large records and unread large replies of all connections. */
const MOST_LARGE_BYTES = 96 * 1024 * 1024
/** The interval of memory checks in ms, and the number of checks after which unused memory is freed. */
const RELIEF_MS = 250
const RELIEFS_PER_TRIM = 8
/** How long a connection may hold a large block while memory is short, in ms. */
const HOARD_MS = 2_000
/** How long a connection has been idle when it is surely not in use, in ms: after a call, and before the first one. */
const IDLE_MS = 1_000
const UNUSED_MS = 250
/** A client with so many connections more than another one loses one to it even if all of them are in use. */
const MORE = 3
/** What an address without an export may have: connections, bytes of one record, and the life of a connection in ms. */
const OUTSIDER = { connections: 8, recordBytes: 8 * 1024, lifeMs: 30_000 }
/** The part of all connections that such addresses may have together. */
const OUTSIDERS_PART = 1 / 8
/** The interval of checks for quiet connections, as a fraction of the shorter time limit. */
const SWEEPS_PER_LIMIT = 4

/** Serves RPC programs on a TCP port (RFC 5531). */
export class RpcServer {
  readonly counters: Counters = newCounters()
  readonly programs: ProgramTable
  readonly #options: RpcServerOptions
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  /** Connections of addresses without an export, and when they were accepted. In the order of age. */
  readonly #outsiders = new Map<Connection, number>()
  /** Bytes of connections that are closed. */
  readonly #closedBytes = { in: 0, out: 0 }
  readonly #duplicates: DuplicateCache
  readonly #shares: ClientShares
  readonly #isClient: (address: string) => boolean
  readonly #context: ConnectionContext
  readonly #outsiderContext: ConnectionContext
  #stopAccepting: () => Promise<void> = async () => undefined
  #sweeper: NodeJS.Timeout | undefined
  #relief: NodeJS.Timeout | undefined
  #reliefs = 0

  constructor(options: RpcServerOptions) {
    this.#options = options
    this.#shares = new ClientShares(options)
    const { log, now, groupsOf, replies, callKey, duplicates, isClient = () => true } = options
    this.#isClient = isClient
    this.programs = new ProgramTable(options.programs)
    this.#duplicates = new DuplicateCache(new CallDigest(replies?.key ?? callKey), duplicates, replies, now())
    const groups = groupsOf && new GroupCache(groupsOf, now, log, isClient)
    this.#context = {
      pool: new ChunkPool({
        smallBytes: SMALL_BLOCK_BYTES,
        largeBytes: options.maxRecordBytes + SLACK_BYTES,
        // Freeing and reallocating blocks costs far more than keeping them: V8 runs a full collection for every 30 MB of freed blocks.
        keepSmall: 128,
        // All that may exist: a block released under load becomes garbage, which V8 collects too late. `trim` releases the unused ones.
        keepLarge: Math.ceil(MOST_LARGE_BYTES / (options.maxRecordBytes + SLACK_BYTES)),
        mostLargeBytes: MOST_LARGE_BYTES,
      }),
      dispatcher: new Dispatcher(this.programs, this.counters, log, now, groups),
      counters: this.counters,
      limits: options,
      log,
      now,
      busyPoll: new BusyPoll(now),
      startTls: options.startTls,
      duplicatesOf: (client) => this.#duplicates.connected(client),
    }
    const maxRecordBytes = Math.min(OUTSIDER.recordBytes, options.maxRecordBytes)
    this.#outsiderContext = { ...this.#context, limits: { ...options, maxRecordBytes } }
    this.#server = createServer(SOCKETS, (socket) => this.#accept(socket))
  }

  /** Starts to listen; resolves with the address. Rejects with the system's error if the port is unavailable. */
  listen(): Promise<AddressInfo> {
    const { host, port, socket: fd, log, idleMs, stallMs, acceptMore, maxConnections } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, ...(fd !== undefined && { fd }), backlog: BACKLOG }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', (error) => log.error({ err: error }, 'cannot accept a connection'))
        if (acceptMore !== undefined) this.#stopAccepting = acceptMore(this.#server, SOCKETS, maxConnections)
        this.#sweeper = setInterval(
          () => this.#sweep(),
          Math.max(1, Math.min(idleMs, stallMs) / SWEEPS_PER_LIMIT),
        ).unref()
        this.#relief = setInterval(() => this.#relieve(), RELIEF_MS).unref()
        resolve(this.#server.address() as AddressInfo)
      })
    })
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** The open connections. */
  connections(): OpenConnection[] {
    const nowMs = this.#options.now()
    return [...this.#connections].map((connection) => {
      const { peer } = connection
      return { peer, quietMs: connection.quiet(nowMs).ms, uses: peer.uses.list() }
    })
  }

  /** Bytes from and to clients since the start. Costs a little for each open connection. */
  get bytes(): { readonly in: number; readonly out: number } {
    const sum = { ...this.#closedBytes }
    for (const { bytes } of this.#connections) {
      sum.in += bytes.in
      sum.out += bytes.out
    }
    return sum
  }

  /** Closes connections at once; running calls get no reply. Returns how many. */
  end(isMeant: (peer: OpenConnection['peer']) => boolean): number {
    const meant = [...this.#connections].filter(({ peer }) => isMeant(peer))
    for (const connection of meant) connection.destroy()
    return meant.length
  }

  /** Stops accepting and reading, lets calls in progress finish and sends their replies, and closes all connections. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    clearInterval(this.#relief)
    const stopped = Promise.all([
      new Promise<void>((resolve) => this.#server.close(() => resolve())),
      this.#stopAccepting(),
    ])
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
    const peer = peerOf(socket, this.#options.startTls !== undefined)
    const isClient = peer === undefined || this.#isClient(peer.address)
    const crowds = !isClient && this.#shares.connectionsOf(peer.address) >= OUTSIDER.connections
    if (!isClient && !crowds) this.#makeRoomForOutsider()
    if (!crowds && this.#connections.size >= maxConnections) this.#closeIdlest(peer?.address)
    const hasRoom = !crowds && this.#connections.size < maxConnections
    const share = peer && hasRoom ? this.#shares.connected(peer.address) : undefined
    if (peer === undefined || share === undefined) {
      this.counters.connectionsRefused++
      log[isClient ? 'warn' : 'debug']({ client: peer?.address }, 'connection refused: too many')
      socket.on('error', (error) => log.debug({ why: error.message }, 'refused connection lost'))
      socket.destroy()
      return
    }
    this.counters.connections++
    try {
      this.#serve(socket, peer, share, isClient)
      log.debug({ client: peer.address, port: peer.port }, 'connection')
    } catch (error) {
      log.error({ err: error, client: peer.address }, 'connection cannot be served')
      socket.destroy()
    }
  }

  #serve(socket: Socket, peer: Peer, share: ClientShare, isClient: boolean): void {
    const client = { share, duplicates: this.#duplicates.connected(peer.address) }
    const connection = new Connection(socket, peer, client, isClient ? this.#context : this.#outsiderContext)
    this.#connections.add(connection)
    if (!isClient) this.#outsiders.set(connection, this.#options.now())
    connection.closed.then(() => {
      this.#connections.delete(connection)
      this.#outsiders.delete(connection)
      this.#closedBytes.in += connection.bytes.in
      this.#closedBytes.out += connection.bytes.out
    })
  }

  /** Closes the oldest connection of an outsider if they have their part of all connections. */
  #makeRoomForOutsider(): void {
    if (this.#outsiders.size < Math.max(1, this.#options.maxConnections * OUTSIDERS_PART)) return
    for (const connection of this.#outsiders.keys()) {
      this.#closeOutsider(connection)
      return
    }
  }

  #closeOutsider(connection: Connection): void {
    this.counters.outsidersClosed++
    // It is gone at once. Its socket reports the close later.
    this.#outsiders.delete(connection)
    this.#connections.delete(connection)
    connection.destroy()
  }

  /**
   * Closes the connection that has been idle longest, if any, in favour of a new one of `address`. If none has been idle for long enough, it closes one of `address` or of a client with more
   * connections, preferably one without a call so far.
   */
  #closeIdlest(address: string | undefined): void {
    const nowMs = this.#options.now()
    let idlest: Connection | undefined
    let best = 0
    let longestMs = -1
    for (const connection of this.#connections) {
      const { ms, kind } = connection.quiet(nowMs)
      if (kind !== 'idle') continue
      const rank = this.#dispensability(connection, ms, address)
      if (rank < best || (rank === best && ms <= longestMs) || rank === 0) continue
      idlest = connection
      best = rank
      longestMs = ms
    }
    if (idlest === undefined) return
    this.counters.idle++
    // Remove it at once; its socket reports the close later.
    this.#connections.delete(idlest)
    idlest.destroy()
  }

  /** How readily an idle connection is closed in favour of a new one of `address`; 0 if not at all. */
  #dispensability({ used, peer }: Connection, idleMs: number, address: string | undefined): number {
    if (idleMs >= (used ? IDLE_MS : UNUSED_MS)) return used ? 3 : 4
    const own = address === undefined ? 0 : this.#shares.connectionsOf(address)
    if (peer.address !== address && this.#shares.connectionsOf(peer.address) < own + MORE) return 0
    return used ? 1 : 2
  }

  /** While memory for large records and replies is short, closes the connections that hold it; afterwards resumes those that wait for it. */
  #relieve(): void {
    const { pool } = this.#context
    const { now, log } = this.#options
    if (++this.#reliefs % RELIEFS_PER_TRIM === 0) pool.trim()
    const nowMs = now()
    const { full } = pool
    for (const [connection, sinceMs] of this.#outsiders) {
      if (nowMs - sinceMs < OUTSIDER.lifeMs) break
      this.#closeOutsider(connection)
    }
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

function peerOf(socket: Socket, mayStartTls: boolean): Peer | undefined {
  const { remoteAddress, remotePort, localAddress } = socket
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  const address = plainAddress(remoteAddress)
  return {
    address,
    client: address,
    security: 'none',
    identity: undefined,
    mayStartTls,
    port: remotePort,
    localAddress: localAddress === undefined ? undefined : plainAddress(localAddress),
    transport: 'tcp',
    complained: false,
    uses: new PeerUses(),
  }
}
