import { isErrno, OverlayError } from '../api/errno.ts'
import type { Name } from '../api/types.ts'
import { LogFile, logFileNames, readOld, takeOver } from '../base/log-file.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { readRecordFile } from '../base/record-file.ts'
import { type LogFormat, RecordLog } from '../base/record-log.ts'
import { pread } from '../sys/data.ts'
import { O_NOFOLLOW, O_RDONLY } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'

const NAME = 'attributes.log'
/** The file of earlier versions: the same changes, as lines of text. */
const OLD_NAME = 'attributes'
const FORMAT: LogFormat = { kind: 'attribs', durability: 'batched', unwritten: 'dropped' }

/** The names of the log in the workdir. */
export const SIDECAR_FILE_NAMES: readonly string[] = [...logFileNames(NAME), ...logFileNames(OLD_NAME)]

/** The path of an object, as a list of names that starts with `upper` or `workdir`. */
export type SidecarPath = readonly Name[]

/** A change as recorded in the log. Values are base64. */
export type SidecarLine =
  | { readonly op: 'set'; readonly at: SidecarPath; readonly attr: string; readonly value: string }
  | { readonly op: 'remove'; readonly at: SidecarPath; readonly attr: string }
  | { readonly op: 'gone'; readonly at: SidecarPath }
  /** The name is about to change. The line `end` with the same number has the result; after a crash, the disk tells. */
  | { readonly op: 'move' | 'link'; readonly n: number; readonly from: SidecarPath; readonly to: SidecarPath }
  | {
      readonly op: 'end'
      readonly n: number
      readonly done: boolean
      readonly from: SidecarPath
      readonly to: SidecarPath
    }
  /** The inode number assigned by the overlay. */
  | { readonly op: 'number'; readonly at: SidecarPath; readonly ino: number }
  /** The next inode number to assign. */
  | { readonly op: 'next'; readonly ino: number }
  /** Another name of the object in the line before, in a rewritten log. */
  | { readonly op: 'same'; readonly from: SidecarPath; readonly to: SidecarPath }

/** The log in which a sidecar is stored: a JSON record for each change. */
export class SidecarLog {
  /** Undefined if the workdir cannot be written. */
  readonly #file: LogFile | undefined
  readonly #log: RecordLog | undefined

  private constructor(file?: LogFile, log?: RecordLog) {
    this.#file = file
    this.#log = log
  }

  /**
   * Opens or creates the log in the workdir and returns its contents, oldest first; takes over the file of an earlier version. With `readOnly` it only
   * reads existing contents.
   */
  static async open(workdirFd: number, readOnly: boolean): Promise<{ log: SidecarLog; lines: SidecarLine[] }> {
    if (readOnly) return { log: new SidecarLog(), lines: await readAll(workdirFd) }
    const file = await LogFile.in(workdirFd, NAME)
    try {
      let lines: SidecarLine[] = []
      const log = await RecordLog.open(file, FORMAT, (record) => {
        lines.push(...parseSidecar(record.toString('latin1')))
      })
      const sidecar = new SidecarLog(file, log)
      // A log with records is complete: a crash came before the old file was removed.
      const isNew = lines.length === 0
      await takeOver(workdirFd, OLD_NAME, async (fd, size) => {
        if (!isNew) return
        lines = await readLines(fd, size)
        await sidecar.rewrite(lines)
      })
      return { log: sidecar, lines }
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** Whether some changes were lost to damage, so that the log should be rewritten. */
  get isDamaged(): boolean {
    return this.#log !== undefined && this.#log.damagedBytes > 0
  }

  /** Resolves when the change survives the death of the process. @throws ENOSPC | EIO | EROFS it was not recorded */
  async append(line: SidecarLine): Promise<void> {
    if (this.#log === undefined) throw new OverlayError('EROFS', 'write', NAME)
    this.#log.append(encode(line))
    await this.#log.flushed()
  }

  /** Makes all appended changes durable. */
  async sync(): Promise<void> {
    await this.#log?.sync()
  }

  /** Atomically replaces the log by one with only these changes. No change may be appended meanwhile. */
  async rewrite(lines: readonly SidecarLine[]): Promise<void> {
    await this.#log?.replaceWith(() => encodeAll(lines))
  }

  close(): void {
    this.#file?.close()
  }
}

/** Whether the workdir has a log: attributes were stored there before. */
export async function hasSidecar(workdirFd: number): Promise<boolean> {
  for (const name of [NAME, OLD_NAME]) {
    try {
      closeSync(await openAt(workdirFd, name, O_RDONLY | O_NOFOLLOW))
      return true
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
  }
  return false
}

/** The changes in a text, one per line; incomplete lines are skipped. */
export function parseSidecar(text: string): SidecarLine[] {
  return text
    .split('\n')
    .map((line) => (line.startsWith('{') ? parse(line) : undefined))
    .filter((line) => line !== undefined)
}

/** The contents of the log, without changing anything. */
async function readAll(workdirFd: number): Promise<SidecarLine[]> {
  const records = (await readRecordFile(workdirFd, NAME, FORMAT.kind, Number.POSITIVE_INFINITY)) ?? []
  let lines: SidecarLine[] = []
  for (const record of records) {
    if (loopBudget.spent) await loopBudget.rest()
    lines.push(...parseSidecar(record.toString('latin1')))
  }
  if (lines.length > 0) return lines
  await readOld(workdirFd, OLD_NAME, async (fd, size) => {
    lines = await readLines(fd, size)
  })
  return lines
}

async function readLines(fd: number, size: number): Promise<SidecarLine[]> {
  const bytes = Buffer.alloc(size)
  return parseSidecar(bytes.toString('latin1', 0, await pread(fd, bytes, 0, size, 0)))
}

function encode(line: SidecarLine): Uint8Array {
  return Buffer.from(JSON.stringify(line), 'latin1')
}

function* encodeAll(lines: readonly SidecarLine[]): Iterable<Uint8Array> {
  for (const line of lines) yield encode(line)
}

function parse(text: string): SidecarLine | undefined {
  try {
    return JSON.parse(text) as SidecarLine
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
