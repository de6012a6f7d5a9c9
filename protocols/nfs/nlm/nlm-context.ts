import type { ExportTable } from '../exports/export-table.ts'
import type { HandleCodec } from '../exports/file-handle.ts'
import type { GracePeriod } from '../locks/grace-period.ts'
import type { LockTable } from '../locks/lock-table.ts'
import type { ShareTable } from '../locks/share-table.ts'
import type { Logger } from '../rpc/logger.ts'
import type { Grants } from './grants.ts'
import type { NlmHost, NlmHosts } from './hosts.ts'

/** The context of the lock manager procedures. */
export interface NlmContext {
  readonly exports: ExportTable
  readonly handles: HandleCodec
  readonly locks: LockTable
  readonly shares: ShareTable
  readonly grace: GracePeriod
  readonly hosts: NlmHosts
  readonly grants: Grants
  readonly log: Logger
  /** Resolves when the host is on the list of hosts to notify of a restart. */
  monitor(host: NlmHost): Promise<void>
}
