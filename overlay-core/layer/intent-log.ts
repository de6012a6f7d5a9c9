import { bestEffort, isErrno } from '../api/errno.ts'
import type { Name } from '../api/types.ts'
import { truncateFd } from '../sys/attr.ts'
import { pread, pwrite } from '../sys/data.ts'
import { renameAt, unlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { type Stat, statxAt, statxFd } from '../sys/stat.ts'
import type { Real } from './layer.ts'
import { isWhiteoutDevice } from './whiteout.ts'

/** The name of the log in the workdir. */
export const INTENT_FILE_NAME = 'steps'
/** At this size the log starts again at its beginning, as soon as no change is running. A mount preallocates this size. */
const LIMIT_BYTES = 64 * 1024

/** A name in a directory of the upper. */
export interface UpperName {
  readonly dir: Real
  readonly name: Name
}

/** A line of the log: the names that a change concerns, and under which name the work directory holds an object meanwhile. */
interface Line {
  readonly at: readonly { readonly path: readonly Name[]; readonly name: Name }[]
  readonly held?: Name
}

/**
 * The intent log records changes that take several steps, so that the next mount can complete or undo those that a crash interrupted: an
 * append-only log in the workdir with one line before each such change. A line stays after the change is done, because repairing a completed change
 * does nothing.
 */
export class IntentLog {
  readonly #fd: number
  #end = 0
  #running = 0
  #held = 0

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** Starts a log in the workdir. What an older one tells of is forgotten: `repairSteps` comes before. */
  static async start(workdirFd: number): Promise<IntentLog> {
    const fd = await openAt(workdirFd, INTENT_FILE_NAME, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
    try {
      await truncateFd(fd, 0)
      await bestEffort(() => pwrite(fd, Buffer.alloc(LIMIT_BYTES, '\n'), 0))
      return new IntentLog(fd)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  /** Runs a change after which, and between whose steps, a whiteout beside an object of the same name means nothing. */
  async noting<T>(names: readonly UpperName[], change: () => Promise<T>): Promise<T> {
    this.#running++
    try {
      // Without the line a crash would leave a whiteout that hides nothing.
      await bestEffort(() => this.#append({ at: names.map(place) }))
      return await change()
    } finally {
      this.#running--
    }
  }

  /**
   * Runs a change that puts an object aside in the work directory, under the name it is given. After a crash in the middle that object
   * goes to the first of `names` that is free.
   */
  async holding<T>(names: readonly UpperName[], change: (held: Name) => Promise<T>): Promise<T> {
    this.#running++
    try {
      const held = `held-${(this.#held++).toString(16)}`
      await this.#append({ at: names.map(place), held })
      return await change(held)
    } finally {
      this.#running--
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  async #append(line: Line): Promise<void> {
    // A line break first, as the end of an older line may stand there.
    const bytes = Buffer.from(`\n${JSON.stringify(line)}\n`, 'latin1')
    if (this.#end > LIMIT_BYTES && this.#running === 1) this.#end = 0
    const at = this.#end
    this.#end += bytes.length
    await pwrite(this.#fd, bytes, at)
  }
}

function place({ dir, name }: UpperName): Line['at'][number] {
  const path: Name[] = []
  for (let at: Real | undefined = dir; at?.parent; at = at.parent) path.unshift(at.name)
  return { path, name }
}

/**
 * Sets right what the changes that the log in the workdir tells of left in the middle: an object held in the work directory goes back, and
 * where an object and a whiteout have the same name the object stays. To be called before the work directory is cleaned.
 */
export async function replayIntents(
  workdirFd: number,
  workFd: number,
  upperFd: number,
  whiteoutFor: (name: Name) => Name,
): Promise<Restored[]> {
  const restored: Restored[] = []
  for (const line of await readLog(workdirFd)) {
    if (line.held !== undefined) restored.push(...(await putBack(line, line.held, workFd, upperFd)))
    for (const { path, name } of line.at) {
      await inDirectory(upperFd, path, async (dirFd) => {
        const object = await statOf(dirFd, name)
        if (object && !isWhiteoutDevice(object) && (await statOf(dirFd, whiteoutFor(name))))
          await unlinkAt(dirFd, whiteoutFor(name))
      })
    }
  }
  return restored
}

/** An object that was put back from the work directory: the name it had there, and its names from the root of the upper. */
export interface Restored {
  readonly held: Name
  readonly to: readonly Name[]
}

async function putBack(line: Line, held: Name, workFd: number, upperFd: number): Promise<Restored[]> {
  const restored: Restored[] = []
  for (const { path, name } of line.at) {
    if (!(await statOf(workFd, held))) break
    await inDirectory(upperFd, path, async (dirFd) => {
      if (await statOf(dirFd, name)) return
      await renameAt(workFd, held, dirFd, name)
      restored.push({ held, to: [...path, name] })
    })
  }
  return restored
}

async function readLog(workdirFd: number): Promise<Line[]> {
  try {
    const fd = await openAt(workdirFd, INTENT_FILE_NAME, O_RDONLY | O_NOFOLLOW)
    try {
      return await readLines(fd)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

async function readLines(fd: number): Promise<Line[]> {
  const { size } = statxFd(fd)
  const bytes = Buffer.alloc(size)
  const length = await pread(fd, bytes, 0, size, 0)
  const lines: Line[] = []
  for (const text of bytes.toString('latin1', 0, length).split('\n')) {
    const line = text.startsWith('{"at":[') ? parse(text) : undefined
    if (line) lines.push(line)
  }
  return lines
}

/** A line as it was written; undefined for one that was cut off by the crash, or overwritten at its start. */
function parse(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Runs `work` with the directory at `path` of the upper, when there is one. */
async function inDirectory(
  upperFd: number,
  path: readonly Name[],
  work: (dirFd: number) => Promise<void>,
): Promise<void> {
  let fd = upperFd
  try {
    for (const name of path) {
      const next = await openAt(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
      if (fd !== upperFd) closeSync(fd)
      fd = next
    }
    await work(fd)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error
  } finally {
    if (fd !== upperFd) closeSync(fd)
  }
}

async function statOf(dirFd: number, name: Name): Promise<Stat | undefined> {
  try {
    return await statxAt(dirFd, name)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENAMETOOLONG')) return undefined
    throw error
  }
}
