import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OptionError, RecordJournal } from '../overlay-core/index.ts'
import { statePath } from './state-path.ts'

/** Where the locks of the overlay with this identity and upper are kept: no two servers ever have the same upper at a time. */
export function lockJournalPath(stateDir: string, overlay: { uuid: Uint8Array }, upperdir: string): string {
  return statePath(stateDir, 'webdav-locks', [overlay.uuid, upperdir])
}

/** Opens a journal of the state directory, making it and its directory when missing. @throws OptionError naming --state-dir */
export async function openJournal(path: string, kind: string): Promise<RecordJournal> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    return await RecordJournal.open(path, kind)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new OptionError('--state-dir', `${path}.log cannot be used (${code ?? String(error)}); choose another`)
  }
}
