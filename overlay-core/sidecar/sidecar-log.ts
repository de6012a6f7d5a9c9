import { isErrno, OverlayError } from '../api/errno.ts'
import type { Name } from '../api/types.ts'
import { truncateFd } from '../sys/attr.ts'
import { fsync, pread, pwrite } from '../sys/data.ts'
import { renameAt } from '../sys/dir.ts'
import { O_CREAT, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

const NAME = 'attributes'
const NEW_NAME = 'attributes.new'
/** The names of the log in the workdir. */
export const SIDECAR_FILE_NAMES: readonly string[] = [NAME, NEW_NAME]

/** An object, by its names from the top: `upper` or `workdir`. */
export type SidecarPath = readonly Name[]

/** One change, as the log has it. Values are base64. */
export type SidecarLine =
  | { readonly op: 'set'; readonly at: SidecarPath; readonly attr: string; readonly value: string }
  | { readonly op: 'remove'; readonly at: SidecarPath; readonly attr: string }
  | { readonly op: 'gone'; readonly at: SidecarPath }
  /** The name is about to change: what came of it stands in the line `end` of the same number, or, after a crash, on disk. */
  | { readonly op: 'move' | 'link'; readonly n: number; readonly from: SidecarPath; readonly to: SidecarPath }
  | {
      readonly op: 'end'
      readonly n: number
      readonly done: boolean
      readonly from: SidecarPath
      readonly to: SidecarPath
    }
  /** The inode number that the overlay gave it. */
  | { readonly op: 'number'; readonly at: SidecarPath; readonly ino: number }
  /** The next one to be given. */
  | { readonly op: 'next'; readonly ino: number }
  /** A further name of the object before, in a rewritten log. */
  | { readonly op: 'same'; readonly from: SidecarPath; readonly to: SidecarPath }

/** The append-only file that a sidecar is kept in: one JSON line for each change, each whole or not there. */
export class SidecarLog {
  #fd: number
  #end: number
  readonly #readOnly: boolean

  private constructor(fd: number, end: number, readOnly: boolean) {
    this.#fd = fd
    this.#end = end
    this.#readOnly = readOnly
  }

  /** Opens or makes the log in the workdir, or opens the one that is there `readOnly`; hands over what it tells, oldest first. */
  static async open(workdirFd: number, readOnly: boolean): Promise<{ log: SidecarLog; lines: SidecarLine[] }> {
    const fd = await openAt(workdirFd, NAME, O_NOFOLLOW | (readOnly ? O_RDONLY : O_RDWR | O_CREAT), 0o600)
    const { size } = statxFd(fd)
    const bytes = Buffer.alloc(size)
    const length = await pread(fd, bytes, 0, size, 0)
    return { log: new SidecarLog(fd, size, readOnly), lines: parseSidecar(bytes.toString('latin1', 0, length)) }
  }

  /** Resolves when the line survives the death of the process. @throws ENOSPC | EIO | EROFS it was not written */
  async append(line: SidecarLine): Promise<void> {
    if (this.#readOnly) throw new OverlayError('EROFS', 'write', NAME)
    // A line break first, as another line may have been cut off in the middle.
    const bytes = Buffer.from(`\n${JSON.stringify(line)}\n`, 'latin1')
    const at = this.#end
    this.#end += bytes.length
    await pwrite(this.#fd, bytes, at)
  }

  /** Makes appended records durable. */
  async sync(): Promise<void> {
    if (!this.#readOnly) await fsync(this.#fd)
  }

  /** Atomically replaces the log by these lines. */
  async rewrite(workdirFd: number, lines: readonly SidecarLine[]): Promise<void> {
    const fd = await openAt(workdirFd, NEW_NAME, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''), 'latin1')
    try {
      await truncateFd(fd, 0)
      await pwrite(fd, bytes, 0)
      await fsync(fd)
      await renameAt(workdirFd, NEW_NAME, workdirFd, NAME)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(this.#fd)
    this.#fd = fd
    this.#end = bytes.length
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Whether a log lies in the workdir: attributes were kept there before. */
export async function hasSidecar(workdirFd: number): Promise<boolean> {
  try {
    closeSync(await openAt(workdirFd, NAME, O_RDONLY | O_NOFOLLOW))
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/** The lines of a log; without one that was cut off. */
export function parseSidecar(text: string): SidecarLine[] {
  return text
    .split('\n')
    .map((line) => (line.startsWith('{') ? parse(line) : undefined))
    .filter((line) => line !== undefined)
}

/** A whole line; undefined for one that was cut off. */
function parse(text: string): SidecarLine | undefined {
  try {
    return JSON.parse(text) as SidecarLine
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
