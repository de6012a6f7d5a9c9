import type { ExportTable } from '../exports/export-table.ts'
import type { HandleCodec } from '../exports/file-handle.ts'
import type { HandleSaver } from '../exports/handle-saver.ts'
import type { WriteVerifier } from '../exports/write-verifier.ts'
import type { Logger } from '../rpc/logger.ts'

/** The context shared by all calls of the NFS program. */
export interface Nfs3Context {
  readonly exports: ExportTable
  readonly handles: HandleCodec
  readonly handleSaver: HandleSaver
  readonly verifier: WriteVerifier
  readonly log: Logger
}
