import type { ExportTable } from '../exports/export-table.ts'
import type { HandleCodec } from '../exports/file-handle.ts'
import type { HandleSaver } from '../exports/handle-saver.ts'
import type { WriteVerifier } from '../exports/write-verifier.ts'
import type { GracePeriod } from '../locks/grace-period.ts'
import type { LockTable } from '../locks/lock-table.ts'
import type { ShareTable } from '../locks/share-table.ts'
import type { Logger } from '../rpc/logger.ts'
import type { PseudoRoot } from './pseudo-root.ts'
import type { Reruns } from './reruns.ts'
import type { AddressShares } from './state/address-shares.ts'
import type { ClientTable } from './state/client-table.ts'
import type { Leases } from './state/leases.ts'
import type { Reclaims } from './state/reclaims.ts'
import type { StateTable } from './state/state-table.ts'

/** What all calls of version 4 share. */
export interface Nfs4Context {
  readonly exports: ExportTable
  readonly handles: HandleCodec
  readonly handleSaver: HandleSaver
  readonly verifier: WriteVerifier
  readonly log: Logger
  readonly locks: LockTable
  readonly shares: ShareTable
  readonly grace: GracePeriod
  readonly root: PseudoRoot
  readonly clients: ClientTable
  readonly states: StateTable
  readonly reclaims: Reclaims
  readonly leases: Leases
  /** The copies that run. */
  readonly copies: AddressShares
  readonly reruns: Reruns
  /** Random bytes of this instance, the same after a restart and of no other server (`so_major_id`, `eir_server_scope`). */
  readonly serverOwner: Uint8Array
  readonly now: () => number
  readonly random: (length: number) => Uint8Array
}
