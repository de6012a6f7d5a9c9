import type { Journal } from '../../overlay-core/index.ts'
import type { ExportTable } from './exports/export-table.ts'
import type { HandleCodec } from './exports/file-handle.ts'
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

/** How locks are kept. */
export interface LockOptions {
  /** Where the clients that have locks are noted; unless given, they are not told of a restart. */
  readonly journal?: Journal
  /** How long after a restart clients may ask for the locks that they had, and others get none; 45 seconds unless given. */
  readonly graceMs?: number
  /** This machine's name, which clients may know it by. */
  readonly hostName?: string
  /** Where clients have their portmapper; 111 unless given. */
  readonly portmapPort?: number
}

/** The lock manager and the status monitor. */
export interface LockManager {
  readonly programs: readonly RpcProgram[]
  readonly locks: LockTable
  /** Begins the grace period and tells the clients of the last run. To be called once they can call back. */
  start(): void
  stop(): void
}

const GRACE_MS = 45_000
const NO_JOURNAL: Journal = { takeRecords: () => [], append: async () => undefined, keepShort: () => undefined }

/** Puts the parts of NLM and NSM together. */
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
  const locks = new LockTable()
  const grace = new GracePeriod()
  const shares = new ShareTable()
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
    locks,
    start() {
      if (peers.toNotify.length > 0) grace.begin(options.graceMs ?? GRACE_MS)
      notifier.start()
    },
    stop() {
      grace.end()
      notifier.stop()
      grants.stop()
    },
  }
}
