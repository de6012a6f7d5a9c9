import { INTENT_FILE_NAMES } from '../layer/intent-log.ts'
import { HANDLE_FILE_NAMES } from '../objects/handle-file.ts'
import { RESUMABLE_DIRECTORY } from '../operations/resumable-stage.ts'
import { PROTOCOL_DATA_DIRECTORY } from '../sidecar/protocol-data-store.ts'
import { SIDECAR_FILE_NAMES } from '../sidecar/sidecar-log.ts'
import { readdirFd } from '../sys/dir.ts'
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

/** Names in the workdir that neither the kernel nor this program created. */
export async function strangersIn(workdirFd: number): Promise<string[]> {
  return (await readdirFd(workdirFd)).map(({ name }) => name).filter((name) => !OURS.has(name))
}
