import type { ExportTable } from '../export-table.ts'
import type { HandleCodec } from '../file-handle.ts'
import type { Logger } from '../rpc/logger.ts'

/** What all calls of the NFS program share. */
export interface Nfs3Context {
  readonly exports: ExportTable
  readonly handles: HandleCodec
  /** 8 bytes that change when unstable data may have been lost: WRITE and COMMIT carry them. */
  readonly writeVerifier: Uint8Array
  readonly log: Logger
}
