import { INTENT_FILE_NAMES } from '../layer/intent-log.ts'
import { HANDLE_FILE_NAMES } from '../objects/handle-file.ts'
import { RESUMABLE_DIRECTORY } from '../operations/resumable-stage.ts'
import { PROTOCOL_DATA_DIRECTORY } from '../sidecar/protocol-data-store.ts'
import { SIDECAR_FILE_NAMES } from '../sidecar/sidecar-log.ts'
import { FORMAT_FILE_NAME } from '../whiteouts/format-record.ts'
import { IDENTITY_FILE_NAMES } from './identity-file.ts'

/** The names that this program or the kernel may create in a workdir. */
const OURS = new Set([
  'work',
  'index',
  PROTOCOL_DATA_DIRECTORY,
  RESUMABLE_DIRECTORY,
  FORMAT_FILE_NAME,
  ...INTENT_FILE_NAMES,
  ...SIDECAR_FILE_NAMES,
  ...HANDLE_FILE_NAMES,
  ...IDENTITY_FILE_NAMES,
])

/** The first of these names in a workdir that neither the kernel nor this program created. */
export function strangerAmong(names: Iterable<string>): string | undefined {
  for (const name of names) if (!OURS.has(name)) return name
  return undefined
}
