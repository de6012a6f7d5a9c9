import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import type { AddressInfo } from 'node:net'
import { ExportTable, type NfsExport } from './export-table.ts'
import { HandleCodec } from './file-handle.ts'
import { HostNames, type LookUp } from './host-names.ts'
import { MOUNT_PROGRAM, MOUNT_V3 } from './mount/constants.ts'
import { MountList } from './mount/mount-list.ts'
import { mountProgram } from './mount/program.ts'
import { MAX_TRANSFER_BYTES, NFS_PROGRAM, NFS_V3 } from './nfs3/constants.ts'
import { nfs3Program } from './nfs3/program.ts'
import { WriteVerifier } from './nfs3/write-verifier.ts'
import type { GroupsOf } from './rpc/group-cache.ts'
import type { Logger } from './rpc/logger.ts'
import { type Registration, register, unregister } from './rpc/rpcbind.ts'
import { RpcServer } from './rpc/server.ts'

/** What an NFS server needs. */
export interface NfsServerOptions {
  host: string
  /** 0 picks a free port. */
  port: number
  exports: readonly NfsExport[]
  /** 32 random bytes; handles stay valid as long as they are the same. */
  handleKey: Uint8Array
  /** 8 bytes; others when unstable data may have been lost since the last start, so that clients send it again. */
  writeVerifier: Uint8Array
  /** Makes another one while the server runs, and keeps it for the next start; random bytes unless given. */
  renewWriteVerifier?: () => Promise<Uint8Array>
  log: Logger
  /** A clock that never goes back, in ms; `performance.now` unless given. */
  now?: () => number
  /** Groups of users by this machine, in place of those that clients send. */
  groupsOf?: GroupsOf | undefined
  /** Addresses of the host names in export rules; the system's look-up unless given. */
  lookUpHost?: LookUp
  /** Announce the programs to the local rpcbind. */
  rpcbind?: boolean
}

/** A running NFS server. */
export interface NfsServer {
  readonly host: string
  readonly port: number
  /** What was seen since the start, by name. */
  readonly counters: Readonly<Record<string, number>>
  /** Takes no new requests, finishes those in flight, then closes. */
  close(): Promise<void>
}

/** The largest WRITE with its header: handle, two credentials of 400 bytes and the words around them. */
const MAX_RECORD_BYTES = MAX_TRANSFER_BYTES + 4096

const LIMITS = {
  maxRecordBytes: MAX_RECORD_BYTES,
  maxFragments: 256,
  maxInFlight: 128,
  maxUnsentBytes: 4 * 1024 * 1024,
  maxReservedBytes: 32 * 1024 * 1024,
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

/**
 * Serves MOUNT version 3 and NFS version 3 on one TCP port.
 *
 * @throws Error the port is not to be had, exports that do not go together, or rpcbind refuses
 */
export async function startNfs(options: NfsServerOptions): Promise<NfsServer> {
  const { host, port, log, now = () => performance.now() } = options
  const hostNames = new HostNames(options.lookUpHost ?? lookUpBySystem, log)
  const exports = new ExportTable(options.exports, (name) => hostNames.addressesOf(name))
  await hostNames.start()
  const handles = new HandleCodec(options.handleKey)
  const verifier = new WriteVerifier(options.writeVerifier, options.renewWriteVerifier ?? (async () => randomBytes(8)))
  const programs = [
    mountProgram({ exports, handles, mounts: new MountList() }),
    nfs3Program({ exports, handles, verifier, log }),
  ]
  const rpc = new RpcServer({ ...LIMITS, host, port, programs, log, now, groupsOf: options.groupsOf })
  const address = await rpc.listen()
  const registrations = registrationsFor(address)
  if (options.rpcbind) {
    try {
      await register(registrations)
    } catch (error) {
      await rpc.close()
      throw error
    }
  }
  return {
    host: address.address,
    port: address.port,
    counters: rpc.counters,
    async close() {
      hostNames.stop()
      if (options.rpcbind) {
        await unregister(registrations).catch((error) => log.warn({ err: error }, 'rpcbind keeps the programs'))
      }
      await rpc.close()
    },
  }
}

async function lookUpBySystem(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address)
}

function registrationsFor({ port }: AddressInfo): Registration[] {
  return [
    { program: MOUNT_PROGRAM, version: MOUNT_V3, port },
    { program: NFS_PROGRAM, version: NFS_V3, port },
  ]
}
