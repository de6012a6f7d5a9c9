import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { connectionsAllowed, type Latencies } from '../../overlay-core/index.ts'
import { ClosingOrder } from './closing-order.ts'
import { type Ports, portmapMappings, portmapPrograms, registrationsFor, servedMappings } from './discovery.ts'
import { ExportTable, type NfsExportSettings, type SecurityPolicy } from './exports/export-table.ts'
import { HandleCodec } from './exports/file-handle.ts'
import { HandleSaver } from './exports/handle-saver.ts'
import { HostNames, type LookUp } from './exports/host-names.ts'
import { WriteVerifier } from './exports/write-verifier.ts'
import type { HeldLocks } from './held-locks.ts'
import { type LockManager, type LockOptions, makeLockManager } from './lock-manager.ts'
import { MountList } from './mount/mount-list.ts'
import { mountProgram } from './mount/program.ts'
import { MAX_TRANSFER_BYTES } from './nfs3/constants.ts'
import { nfs3Program } from './nfs3/program.ts'
import { makeNfs4, type Nfs4Options, type Nfs4Service } from './nfs4-service.ts'
import { PMAP_PORT } from './portmap/constants.ts'
import { Mappings } from './portmap/mappings.ts'
import type { Peer } from './rpc/call.ts'
import { DIGEST_KEY_BYTES } from './rpc/call-digest.ts'
import type { GroupsOf } from './rpc/group-cache.ts'
import type { Logger } from './rpc/logger.ts'
import type { ServedProgram } from './rpc/program.ts'
import { RegistrationKeeper } from './rpc/registration-keeper.ts'
import { type ReplyMemory, ReplyStore } from './rpc/reply-store.ts'
import { type AcceptMore, type OpenConnection, RpcServer } from './rpc/server.ts'
import type { StartTls } from './rpc/start-tls.ts'
import { UdpServer, type UdpServerOptions } from './rpc/udp-server.ts'

/** The options of an NFS server. */
export interface NfsServerOptions {
  host: string
  /** 0 picks a free port. */
  port: number
  /** The descriptor of a socket that listens there already. */
  socket?: number | undefined
  exports: readonly NfsExportSettings[]
  /** 32 random bytes; handles stay valid as long as they are the same. */
  handleKey: Uint8Array
  /** 8 bytes, which must change if unstable data may have been lost since the last start, so that clients send it again. */
  writeVerifier: Uint8Array
  /** Creates another one while the server runs, and saves it for the next start; random bytes by default. */
  renewWriteVerifier?: () => Promise<Uint8Array>
  log: Logger
  /** A monotonic clock, in ms; `performance.now` by default. */
  now?: () => number
  /** Looks up the groups of users on this machine, which replace those from clients. */
  groupsOf?: GroupsOf | undefined
  /** Resolves the host names in export rules; the system's resolver by default. */
  lookUpHost?: LookUp
  /** Whether to register the programs with the local rpcbind while the server runs. */
  rpcbind?: boolean
  /** Whether to serve the portmapper's port, TCP and UDP, without rpcbind; 111 by default. */
  portmap?: { port?: number } | undefined
  /** The time of day in ms; `Date.now` by default. */
  wallMs?: () => number
  locks?: LockOptions
  /** What version 4 keeps; without it clients reclaim nothing after a restart. */
  nfs4?: Nfs4Options
  /** The maximum number of connections, if it is less than the process has descriptors for. */
  maxConnections?: number | undefined
  /** Accepts several connections in one turn of the event loop. */
  acceptMore?: AcceptMore | undefined
  /** Encrypts connections whose client asks for it (RFC 9289); without it all are in clear text. */
  startTls?: StartTls | undefined
  /** Memory that survives the process, for calls that a client may retransmit after a restart; without it such a call is executed twice. */
  replyMemory?: ReplyMemory | undefined
}

/** A running NFS server. */
export interface NfsServer {
  readonly host: string
  readonly port: number
  /** The address of the built-in portmapper, if there is one. */
  readonly portmap: Ports | undefined
  /** Counters since the start, by name. */
  readonly counters: Readonly<Record<string, number>>
  /** Serves one more export, or one of this name with other rules. @throws Error as `startNfs` */
  serve(settings: NfsExportSettings): Promise<void>
  /** Stops serving an export: its handles become stale. */
  end(name: string): void
  /** The open connections. */
  connections(): readonly OpenConnection[]
  /** Closes connections; running calls get no reply. Clients usually connect again. Returns how many. */
  endConnections(isMeant: (peer: OpenConnection['peer']) => boolean): number
  /** Bytes from and to clients since the start. Costs a little for each open connection. */
  bytes(): { readonly in: number; readonly out: number }
  /** The number of open connections. */
  connectionCount(): number
  /** How long the procedures of each program have taken: from when they begin, without the wait for data of the call, until the reply is queued. */
  latencies(): readonly ProcedureLatencies[]
  /** The locks of clients. */
  readonly heldLocks: HeldLocks
  /** Makes clients send unstable data again, because it may be lost. Resolves when they are told so. */
  dataLost(error: unknown): Promise<void>
  /** Accepts no new requests, finishes those in flight, then closes. */
  close(): Promise<void>
}

/** The times of one procedure. */
export interface ProcedureLatencies {
  /** The program number, for example 100003. */
  readonly program: number
  readonly version: number
  /** The name in the RFC. */
  readonly procedure: string
  readonly latencies: Latencies
}

/** The largest WRITE with its header: handle, two credentials of 400 bytes and the words around them. */
const MAX_RECORD_BYTES = MAX_TRANSFER_BYTES + 4096

const LIMITS = {
  maxRecordBytes: MAX_RECORD_BYTES,
  maxFragments: 256,
  maxInFlight: 128,
  maxUnsentBytes: 1024 * 1024,
  maxReservedBytes: 16 * 1024 * 1024,
  turnBytes: 1024 * 1024,
  maxConnections: 1024,
  // Linux opens at most 16 for one mount (nconnect).
  maxConnectionsPerClient: 256,
  maxInFlightPerClient: 256,
  maxInFlightTotal: 512,
  maxBytesInFlight: 8 * 1024 * 1024,
  turnCalls: 256,
  // The Linux client closes an idle connection itself after 5 minutes.
  idleMs: 6 * 60_000,
  stallMs: 60_000,
  closeMs: 10_000,
}

/** The shares of the connections of this process that NFS and the portmapper may use; the rest is for HTTP. */
const NFS_PART = 0.35
const PORTMAP_PART = 0.05
const MIN_CONNECTIONS = 5

/** Portmapper requests are small and rare. */
const PORTMAP_LIMITS = { ...LIMITS, maxRecordBytes: 8 * 1024, maxConnectionsPerClient: 16, maxConnections: 256 }

/**
 * Serves NFS versions 3 and 4, MOUNT version 3, NLM version 4 and NSM version 1 on one TCP port; if clients can look up the port, the last three on UDP as well.
 *
 * @throws Error the port is unavailable, the exports conflict, or rpcbind refuses
 */
export async function startNfs(options: NfsServerOptions): Promise<NfsServer> {
  const { host, port, log, now = performance.now.bind(performance) } = options
  const hostNames = new HostNames(options.lookUpHost ?? lookUpBySystem, log)
  const security = new Security(options.startTls !== undefined, log)
  const exports = new ExportTable(options.exports, (name) => hostNames.addressesOf(name), security)
  const replies = keptReplies(options)
  const { programs, small, locks, nfs4, handleSaver, verifier } = await makePrograms(options, exports, now, replies)
  await hostNames.start()
  const callKey = randomBytes(DIGEST_KEY_BYTES)
  const { groupsOf, acceptMore, startTls } = options
  const isClient = (address: string) => exports.isFor(address)
  const own = { host, port, programs, log, now, groupsOf, isClient, replies, callKey, acceptMore, startTls }
  const rpc = new RpcServer({ ...within(LIMITS, NFS_PART, options.maxConnections), ...own, socket: options.socket })
  const closing = new ClosingOrder()
  closing.add(async () => hostNames.stop())
  try {
    const address = await closing.open(rpc)
    const udp = {
      host,
      counters: rpc.counters,
      log,
      now,
      callKey,
      accepts: (client: string) => acceptsDatagrams(exports, client),
    }
    const ports = { tcpPort: address.port, udpPort: 0 }
    if (options.rpcbind || options.portmap) {
      ports.udpPort = await closing.open(new UdpServer({ ...udp, port, programs: small }))
    }
    const portmap = options.portmap && (await openPortmapper(options, ports, { ...udp, isClient }, closing))
    if (options.rpcbind) {
      const keeper = new RegistrationKeeper(registrationsFor(ports, host), log)
      await keeper.start()
      closing.add(() => keeper.stop())
    }
    locks.start()
    nfs4.start()
    closing.add(async () => nfs4.stop())
    closing.add(async () => locks.stop())
    return {
      ...{ host: address.address, port: address.port, portmap, ...forAdministrators(rpc, locks) },
      counters: withPresentValues(rpc.counters, handleSaver, nfs4, locks, security),
      serve: async (settings) => {
        exports.replace(settings)
        await hostNames.start()
      },
      end: (name) => exports.remove(name),
      dataLost: (error) => verifier.change(error),
      close: () => closing.close(),
    }
  } catch (error) {
    await closing.close()
    throw error
  }
}

/** Assembles the programs, and what they share. `small` are those that are served on UDP, too. */
async function makePrograms(
  options: NfsServerOptions,
  exports: ExportTable,
  now: () => number,
  replies: ReplyStore | undefined,
) {
  const { log, wallMs = () => Date.now() } = options
  const handles = new HandleCodec(options.handleKey)
  const verifier = new WriteVerifier(options.writeVerifier, options.renewWriteVerifier ?? (async () => randomBytes(8)))
  const firstXid = randomBytes(4).readUInt32BE()
  const locks = await makeLockManager({ exports, handles, log, firstXid, random: randomBytes }, options.locks)
  const handleSaver = new HandleSaver(log)
  const small = [mountProgram({ exports, handles, handleSaver, mounts: new MountList() }), ...locks.programs]
  const shared = { exports, handles, handleSaver, verifier, log }
  const nfs4 = makeNfs4({ ...shared, lockManager: locks, replies, now, wallMs, random: randomBytes }, options.nfs4)
  const programs = [...small, nfs3Program(shared), nfs4.program]
  return { programs, small, locks, nfs4, handleSaver, verifier }
}

/** What administrators look at and do. */
function forAdministrators(
  rpc: RpcServer,
  { held: heldLocks }: LockManager,
): Pick<NfsServer, 'connections' | 'endConnections' | 'heldLocks' | 'bytes' | 'connectionCount' | 'latencies'> {
  return {
    connections: () => rpc.connections(),
    endConnections: (isMeant) => rpc.end(isMeant),
    heldLocks,
    bytes: () => rpc.bytes,
    connectionCount: () => rpc.connectionCount,
    latencies: () => rpc.programs.list().flatMap(latenciesOf),
  }
}

function latenciesOf({ number: program, version, procedures, latencies }: ServedProgram): ProcedureLatencies[] {
  return procedures.map(({ name }, i) => ({ program, version, procedure: name, latencies: latencies[i] as Latencies }))
}

/** Counts and reports callers whose connection is not protected as an export wants. */
class Security implements SecurityPolicy {
  readonly encrypts: boolean
  refused = 0
  readonly #log: Logger

  constructor(encrypts: boolean, log: Logger) {
    this.encrypts = encrypts
    this.#log = log
  }

  tooWeak(name: string, { address, security }: Peer): void {
    this.refused++
    this.#log.info(
      { client: address, export: name, security },
      'refused: the export wants TLS or a certificate (xprtsec)',
    )
  }
}

/** Adds present values to the totals. */
function withPresentValues(
  totals: RpcServer['counters'],
  handleSaver: HandleSaver,
  nfs4: Nfs4Service,
  { locks }: LockManager,
  security: Security,
): NfsServer['counters'] {
  return Object.defineProperties(totals, {
    handlesNotNoted: { enumerable: true, get: () => handleSaver.failures },
    // Callers whose connection was not protected as the export wants.
    tooWeak: { enumerable: true, get: () => security.refused },
    locks: { enumerable: true, get: () => locks.size },
    // Of version 4: clients, their opens and owners of locks, and the files that are held open for them.
    clients4: { enumerable: true, get: () => nfs4.counts.clients },
    states4: { enumerable: true, get: () => nfs4.counts.states },
    files4: { enumerable: true, get: () => nfs4.counts.files },
    locksWaiting: { enumerable: true, get: () => locks.waiting },
  })
}

function keptReplies({ replyMemory, log, wallMs = () => Date.now() }: NfsServerOptions): ReplyStore | undefined {
  if (replyMemory === undefined) return undefined
  const failed = (error: unknown) => log.error({ err: error }, 'replies are no longer saved')
  return new ReplyStore(replyMemory, wallMs, failed, randomBytes(DIGEST_KEY_BYTES))
}

async function openPortmapper(
  options: NfsServerOptions,
  ports: Ports,
  { isClient, ...udp }: Omit<UdpServerOptions, 'port' | 'programs'> & { isClient: (address: string) => boolean },
  closing: ClosingOrder,
): Promise<Ports> {
  const { host, log, acceptMore, wallMs = () => Date.now() } = options
  const port = options.portmap?.port ?? PMAP_PORT
  const mappings = new Mappings(servedMappings(ports), host)
  const programs = portmapPrograms(mappings, () => Math.floor(wallMs() / 1000))
  try {
    const tcp = await closing.open(
      new RpcServer({
        ...within(PORTMAP_LIMITS, PORTMAP_PART),
        host,
        port,
        programs,
        log,
        now: udp.now,
        callKey: udp.callKey,
        isClient,
        acceptMore,
      }),
    )
    const own = { tcpPort: tcp.port, udpPort: await closing.open(new UdpServer({ ...udp, port, programs })) }
    mappings.list.push(...portmapMappings(own))
    return own
  } catch (error) {
    throw new Error(`portmap: cannot listen on port ${port}`, { cause: error })
  }
}

/** The sender of a datagram can be forged, so only clients that may mount something, and this machine, get replies. */
function acceptsDatagrams(exports: ExportTable, client: string): boolean {
  return /^(127\.|::1$)/.test(client) || exports.isFor(client)
}

async function lookUpBySystem(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address)
}

/** Reduces the limits to `most` connections and to this share of the connections of the process, and to as many concurrent calls as it has descriptors for. */
function within(limits: typeof LIMITS, part: number, most = limits.maxConnections): typeof LIMITS {
  const allowed = connectionsAllowed()
  return {
    ...limits,
    maxConnections: Math.min(most, limits.maxConnections, Math.max(MIN_CONNECTIONS, Math.floor(allowed * part))),
    maxInFlight: Math.min(limits.maxInFlight, allowed),
    maxInFlightPerClient: Math.min(limits.maxInFlightPerClient, allowed),
    maxInFlightTotal: Math.min(limits.maxInFlightTotal, 2 * allowed),
  }
}
