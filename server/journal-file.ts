import { dirname } from 'node:path'
import { isUnwritable, type Journal, type LiveRecords, OptionError, RecordJournal } from '../overlay-core/index.ts'
import { makeDirectory } from './make-directory.ts'
import { statePath } from './state-path.ts'

/** The path of the lock journal for the overlay with this UUID and upper. No two servers use the same upper at the same time. */
export function lockJournalPath(stateDir: string, overlay: { uuid: Uint8Array }, upperdir: string): string {
  return statePath(stateDir, 'webdav-locks', [overlay.uuid, upperdir])
}

/**
 * A journal of the state directory. On a full or read-only disk its records are read, and each append tries again to open it.
 */
export class JournalFile implements Journal {
  readonly #path: string
  readonly #kind: string
  #journal: RecordJournal | undefined
  #records: readonly string[]
  #live: LiveRecords | undefined

  private constructor(path: string, kind: string, given: { journal?: RecordJournal; records: readonly string[] }) {
    this.#path = path
    this.#kind = kind
    this.#journal = given.journal
    this.#records = given.records
  }

  /** Opens a journal and creates it and its directory if missing. @throws OptionError naming --state-dir */
  static async open(path: string, kind: string): Promise<JournalFile> {
    try {
      const journal = await openOrMake(path, kind).catch((error) => {
        if (!isUnwritable(error)) throw error
      })
      const records = journal ? journal.takeRecords() : await RecordJournal.recordsOf(path, kind)
      return new JournalFile(path, kind, { ...(journal && { journal }), records })
    } catch (error) {
      throw cannotUse(path, error)
    }
  }

  /** Like `open`, but the file is opened by the first append: a server that never needs the journal spares two descriptors. @throws OptionError naming --state-dir */
  static async openWhenUsed(path: string, kind: string): Promise<JournalFile> {
    try {
      return new JournalFile(path, kind, { records: await RecordJournal.recordsOf(path, kind) })
    } catch (error) {
      throw cannotUse(path, error)
    }
  }

  takeRecords(): readonly string[] {
    const records = this.#records
    this.#records = []
    return records
  }

  keepShort(live: LiveRecords): void {
    this.#live = live
    this.#journal?.keepShort(live)
  }

  async append(record: string): Promise<void> {
    await (this.#journal ?? (await this.#openLate())).append(record)
  }

  /** Closes the file. Call it after the last append. */
  async close(): Promise<void> {
    await this.#journal?.close()
  }

  async #openLate(): Promise<RecordJournal> {
    const journal = await openOrMake(this.#path, this.#kind)
    if (this.#journal !== undefined) {
      // Another append was faster.
      await journal.close()
      return this.#journal
    }
    this.#journal = journal
    if (this.#live) journal.keepShort(this.#live)
    return journal
  }
}

async function openOrMake(path: string, kind: string): Promise<RecordJournal> {
  await makeDirectory(dirname(path))
  return await RecordJournal.open(path, kind)
}

function cannotUse(path: string, error: unknown): OptionError {
  const { code } = error as NodeJS.ErrnoException
  return new OptionError('--state-dir', `cannot use ${path}.log (${code ?? String(error)}); choose another directory`)
}
