import { connectionsAllowed, type Journal } from '../../overlay-core/index.ts'
import type { LockManager } from './lock-manager.ts'
import type { Nfs4Context } from './nfs4/nfs4-context.ts'
import { nfs4Program } from './nfs4/program.ts'
import { PseudoRoot } from './nfs4/pseudo-root.ts'
import { Reruns } from './nfs4/reruns.ts'
import { AddressShares } from './nfs4/state/address-shares.ts'
import { ClientTable } from './nfs4/state/client-table.ts'
import { Leases } from './nfs4/state/leases.ts'
import { Reclaims } from './nfs4/state/reclaims.ts'
import { StateTable } from './nfs4/state/state-table.ts'
import { LEASE_SECONDS } from './nfs4/wire/constants.ts'
import type { RpcProgram } from './rpc/program.ts'
import type { ReplyStore } from './rpc/reply-store.ts'

/** What version 4 keeps between runs. */
export interface Nfs4Options {
  /** The journal of clients that may reclaim what they held. */
  readonly journal: Journal
  /** The number of this run: higher than that of any earlier one. */
  readonly boot: number
  /** Random bytes that name this server, the same in each run. */
  readonly serverOwner: Uint8Array
  /** The grace period after a restart; as long as a lease by default. */
  readonly graceMs?: number
}

/** Version 4 as it is being served. */
export interface Nfs4Service {
  readonly program: RpcProgram
  /** What there is at present. */
  readonly counts: { readonly clients: number; readonly states: number; readonly files: number }
  /** Starts the grace period, if a client may reclaim something. */
  start(): void
  stop(): void
}

const NO_JOURNAL: Journal = { takeRecords: () => [], append: async () => undefined, keepShort: () => undefined }
const OWNER_BYTES = 16
/** Files that clients hold open, for each connection that the process may have: the rest of the descriptors is for caches and running calls. */
const HELD_PART = 0.5
const GRACE_MS = LEASE_SECONDS * 1000

type Shared = Pick<Nfs4Context, 'exports' | 'handles' | 'handleSaver' | 'verifier' | 'log' | 'now'>

/** Assembles the parts of version 4. */
export function makeNfs4(
  parts: Shared & {
    lockManager: LockManager
    replies: ReplyStore | undefined
    wallMs: () => number
    random: (length: number) => Uint8Array
  },
  options?: Nfs4Options,
): Nfs4Service {
  const { exports, handles, handleSaver, verifier, log, now, wallMs, random, lockManager } = parts
  const { locks, shares, grace, courtesy } = lockManager
  const boot = options?.boot ?? Buffer.from(random(4)).readUInt32BE()
  const states = new StateTable(locks, shares, Math.floor(connectionsAllowed() * HELD_PART))
  const clients = new ClientTable(boot, random, (client) => void states.freeClient(client))
  const reclaims = new Reclaims(options?.journal ?? NO_JOURNAL, grace, (error) =>
    log.warn({ err: error }, 'the list of NFSv4 clients cannot be shortened'),
  )
  const leases = new Leases({ clients, states, reclaims, now, leaseMs: LEASE_SECONDS * 1000 })
  courtesy.endIfGone = (client, file) => leases.endIfGone(client, file)
  courtesy.endGone = (file) => leases.endGone(file)
  const context: Nfs4Context = {
    ...{
      exports,
      handles,
      handleSaver,
      verifier,
      log,
      now,
      random,
      locks,
      shares,
      grace,
      clients,
      states,
      reclaims,
      leases,
    },
    copies: new AddressShares(),
    reruns: new Reruns(parts.replies),
    root: new PseudoRoot(exports, wallMs()),
    serverOwner: options?.serverOwner ?? random(OWNER_BYTES),
  }
  return {
    program: nfs4Program(context),
    get counts() {
      return { clients: clients.size, states: states.size, files: states.held }
    },
    start() {
      leases.start()
      if (reclaims.pending) grace.begin(options?.graceMs ?? GRACE_MS, 'nfs4', () => reclaims.graceOver())
    },
    stop() {
      leases.stop()
      grace.end('nfs4')
      for (const client of [...clients]) clients.drop(client)
    },
  }
}
