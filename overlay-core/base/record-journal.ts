import { basename, dirname } from 'node:path'
import { isErrno, isUnwritable } from '../api/errno.ts'
import type { Journal, LiveRecords } from '../api/journal.ts'
import { pread } from '../sys/data.ts'
import { closeSync, openRoot } from '../sys/open.ts'
import { LogFile, readOld, takeOver } from './log-file.ts'
import { readRecordFile } from './record-file.ts'
import { RecordLog } from './record-log.ts'

/** A journal is rewritten when it has more records than twice the live ones plus this number. */
const SLACK_RECORDS = 1000

/**
 * A journal in the file `PATH.log`, which nobody else may use meanwhile. Imports the lines of text in `PATH`, the format of earlier versions, and then
 * removes that file; if there is no space for that, it tries again before the next record.
 */
export class RecordJournal implements Journal {
  readonly #dirFd: number
  readonly #oldName: string
  readonly #file: LogFile
  readonly #log: RecordLog
  #records: readonly string[]
  /** Lines of an earlier version that are not imported yet. */
  #old: readonly string[]
  #live: LiveRecords | undefined
  #shortening: Promise<void> | undefined
  /** After a failed rewrite, the number of records at which it is tried again. */
  #retryRecords = 0

  private constructor(
    { dirFd, oldName, file, log }: { dirFd: number; oldName: string; file: LogFile; log: RecordLog },
    records: readonly string[],
    old: readonly string[],
  ) {
    this.#dirFd = dirFd
    this.#oldName = oldName
    this.#file = file
    this.#log = log
    this.#records = [...records, ...old]
    this.#old = old
  }

  /** Opens or creates the journal; its directory must exist. @param kind of the records, up to eight letters */
  static async open(path: string, kind: string): Promise<RecordJournal> {
    using opened = new DisposableStack()
    const oldName = Buffer.from(basename(path), 'utf8').toString('latin1')
    const dirFd = await openRoot(dirname(path))
    opened.defer(() => closeSync(dirFd))
    const file = await LogFile.in(dirFd, `${oldName}.log`)
    opened.defer(() => file.close())
    const records: string[] = []
    const log = await RecordLog.open(file, { kind, durability: 'always', unwritten: 'dropped' }, (record) => {
      records.push(record.toString('utf8'))
    })
    const old = await readLines(dirFd, oldName)
    const journal = new RecordJournal({ dirFd, oldName, file, log }, records, old ?? [])
    if (old !== undefined) await journal.#takeOverUnlessFull()
    opened.move()
    return journal
  }

  /** The records of the journal at `path`, for a caller that cannot open it for writing; empty if there is no journal. */
  static async recordsOf(path: string, kind: string): Promise<readonly string[]> {
    const oldName = Buffer.from(basename(path), 'utf8').toString('latin1')
    let dirFd: number
    try {
      dirFd = await openRoot(dirname(path))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    }
    try {
      const records = (await readRecordFile(dirFd, `${oldName}.log`, kind, Number.POSITIVE_INFINITY)) ?? []
      return [...records.map((record) => record.toString('utf8')), ...((await readLines(dirFd, oldName)) ?? [])]
    } finally {
      closeSync(dirFd)
    }
  }

  takeRecords(): readonly string[] {
    const records = this.#records
    this.#records = []
    return records
  }

  keepShort(live: LiveRecords): void {
    this.#live = live
  }

  async append(record: string): Promise<void> {
    if (this.#old.length > 0) await this.#takeOver()
    this.#log.append(Buffer.from(record, 'utf8'))
    const written = this.#log.flushed()
    this.#shorten()
    await written
  }

  /** Closes the journal. Call it after the last append. */
  async close(): Promise<void> {
    await this.#shortening
    this.#file.close()
    closeSync(this.#dirFd)
  }

  #shorten(): void {
    const live = this.#live
    const { records } = this.#log
    if (live === undefined || this.#shortening !== undefined || records < this.#retryRecords) return
    if (records <= 2 * live.count() + SLACK_RECORDS) return
    this.#shortening = this.#log
      .replaceWith(() => encoded(live.records()))
      .catch((error: unknown) => {
        this.#retryRecords = 2 * records
        live.failed(error)
      })
      .finally(() => {
        this.#shortening = undefined
      })
  }

  async #takeOverUnlessFull(): Promise<void> {
    try {
      await this.#takeOver()
    } catch (error) {
      if (!isUnwritable(error)) throw error
    }
  }

  async #takeOver(): Promise<void> {
    for (const line of this.#old) this.#log.append(Buffer.from(line, 'utf8'))
    await this.#log.flushed()
    await takeOver(this.#dirFd, this.#oldName, async () => undefined)
    this.#old = []
  }
}

function* encoded(records: Iterable<string>): Iterable<Uint8Array> {
  for (const record of records) yield Buffer.from(record, 'utf8')
}

/** The lines of a file; undefined if it does not exist. */
async function readLines(dirFd: number, name: string): Promise<string[] | undefined> {
  let lines: string[] | undefined
  await readOld(dirFd, name, async (fd, size) => {
    const bytes = Buffer.alloc(size)
    const length = await pread(fd, bytes, 0, size, 0)
    const text = bytes.toString('utf8', 0, length)
    lines = text.split('\n').filter((line) => line !== '')
  })
  return lines
}
