import type { ExportTable } from '../exports/export-table.ts'
import type { HandleCodec } from '../exports/file-handle.ts'
import type { HandleSaver } from '../exports/handle-saver.ts'
import type { MountList } from './mount-list.ts'

/** The context of the MOUNT procedures. */
export interface MountContext {
  readonly exports: ExportTable
  readonly handles: HandleCodec
  readonly handleSaver: HandleSaver
  readonly mounts: MountList
}
