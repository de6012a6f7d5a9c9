import type { ExportTable } from '../exports/export-table.ts'
import type { HandleCodec } from '../exports/file-handle.ts'
import type { HandleNotes } from '../exports/handle-notes.ts'
import type { MountList } from './mount-list.ts'

/** What the procedures of MOUNT work on. */
export interface MountContext {
  readonly exports: ExportTable
  readonly handles: HandleCodec
  readonly handleNotes: HandleNotes
  readonly mounts: MountList
}
