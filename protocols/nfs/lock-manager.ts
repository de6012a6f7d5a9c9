import type { Journal } from '../../overlay-core/index.ts'
import type { ExportTable } from './exports/export-table.ts'
import type { HandleCodec } from './exports/file-handle.ts'
import { HeldLocks } from './held-locks.ts'
import { GracePeriod } from './locks/grace-period.ts'
import { LockTable } from './locks/lock-table.ts'
import { ShareTable } from './locks/share-table.ts'
import { hostRestarted } from './nlm/free-all.ts'
import { Grants } from './nlm/grants.ts'
import { NlmHosts } from './nlm/hosts.ts'
import type { NlmContext } from './nlm/nlm-context.ts'
import { nlmProgram } from './nlm/program.ts'
import { Notifier } from './nsm/notifier.ts'
import { PeerList } from './nsm/peer-list.ts'
import { nsmProgram } from './nsm/program.ts'
import type { Logger } from './rpc/logger.ts'
import type { RpcProgram } from './rpc/program.ts'
import { RpcCaller } from './rpc/rpc-caller.ts'

/** The options of the lock manager. */
export interface LockOptions {
  /** The journal of clients with locks; without it they are not notified of a restart. */
  readonly journal?: Journal
  /** The grace period after a restart, in which clients may only reclaim locks; 45 seconds by default. */
  readonly graceMs?: number
  /** The name of this machine, by which clients may know it. */
  readonly hostName?: string
  /** The port of the clients' portmapper; 111 by default. */
  readonly portmapPort?: number
}

/** What becomes of clients that have not been heard of for too long, when what they hold is in the way: see `LockTable` and `ShareTable`. */
export interface Courtesy {
  endIfGone: (client: string, file: string) => boolean
  endGone: (file: string) => boolean
}

/** The lock manager and the status monitor. */
export interface LockManager {
  readonly programs: readonly RpcProgram[]
  readonly locks: LockTable
  readonly shares: ShareTable
  readonly grace: GracePeriod
  /** Version 4 sets what becomes of its clients that are gone. */
  readonly courtesy: Courtesy
  /** The locks for administrators. */
  readonly held: HeldLocks
  /** Starts the grace period and notifies the clients of the last run. Call it once they can call back. */
  start(): void
  stop(): void
}

const GRACE_MS = 45_000
const NO_JOURNAL: Journal = { takeRecords: () => [], append: async () => undefined, keepShort: () => undefined }

/** Assembles the parts of NLM and NSM. */
export async function makeLockManager(
  parts: {
    exports: ExportTable
    handles: HandleCodec
    log: Logger
    firstXid: number
    random: (length: number) => Uint8Array
  },
  options: LockOptions = {},
): Promise<LockManager> {
  const { exports, handles, log } = parts
  const { portmapPort } = options
  const caller = new RpcCaller(parts.firstXid)
  const peers = await PeerList.open(options.journal ?? NO_JOURNAL, (error) =>
    log.warn(
      { err: error },
      'NFS clients get no locks: the disk of the state directory is full, so lock holders cannot be recorded; free some space',
    ),
  )
  const courtesy: Courtesy = { endIfGone: () => false, endGone: () => false }
  const locks = new LockTable({}, (client, file) => courtesy.endIfGone(client, file))
  const grace = new GracePeriod()
  const shares = new ShareTable({}, (file) => courtesy.endGone(file))
  const hosts = new NlmHosts((key) => locks.hasClient(key) || shares.hasClient(key))
  const grants = new Grants({ caller, locks, log, portmapPort, random: parts.random })
  const context: NlmContext = {
    ...{ exports, handles, log, locks, grace, grants, shares, hosts },
    monitor: ({ address, name, ourAddress }) => peers.monitor({ address, name, ourAddress }),
  }
  const notifier = new Notifier({ caller, peers, log, portmapPort, hostName: options.hostName ?? 'localhost' })
  const restarted = (address: string, name: string, state: number) => hostRestarted(context, address, name, state)
  return {
    programs: [nlmProgram(context, caller, portmapPort), nsmProgram({ state: peers.state, restarted })],
    ...{ locks, shares, grace, courtesy, held: new HeldLocks(context) },
    start() {
      if (peers.toNotify.length > 0) grace.begin(options.graceMs ?? GRACE_MS, 'nlm')
      notifier.start()
    },
    stop() {
      grace.end('nlm')
      notifier.stop()
      grants.stop()
    },
  }
}
