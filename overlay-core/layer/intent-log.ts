import { bestEffort, isErrno } from '../api/errno.ts'
import type { Name } from '../api/types.ts'
import { LogFile, logFileNames, readOld, takeOver } from '../base/log-file.ts'
import { readRecordFile } from '../base/record-file.ts'
import { type LogFormat, RecordLog } from '../base/record-log.ts'
import { truncateFd } from '../sys/attr.ts'
import { pread } from '../sys/data.ts'
import { renameAt, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { type Stat, statxAt } from '../sys/stat.ts'
import type { Real } from './layer.ts'
import { isWhiteoutDevice } from './whiteout.ts'

const NAME = 'intents.log'
/** The file of earlier versions, with the same content as lines of text. */
const OLD_NAME = 'steps'
/** The names of the log in the workdir. */
export const INTENT_FILE_NAMES: readonly string[] = [...logFileNames(NAME), ...logFileNames(OLD_NAME)]
/** Intents are needed until the next mount, so they must survive the death of the process, but need not be durable. */
const FORMAT: LogFormat = { kind: 'intents', durability: 'never', unwritten: 'dropped' }
/** When the log is larger than this and no change is running, it starts over at its beginning. This much space is reserved at mount. */
const LIMIT_BYTES = 64 * 1024

/** A name in a directory of the upper. */
export interface UpperName {
  readonly dir: Real
  readonly name: Name
}

/** A record of the log: the names that a change affects, and the name of an object that the work directory holds meanwhile. */
interface Intent {
  readonly at: readonly { readonly path: readonly Name[]; readonly name: Name }[]
  readonly held?: Name
}

/**
 * Records changes that take several steps, so that the next mount can complete or undo those that a crash interrupted. It is a
 * log in the workdir with one record before each such change. A record stays after the change is done, because repairing a completed change
 * does nothing.
 */
export class IntentLog {
  readonly #file: LogFile
  readonly #log: RecordLog
  #running = 0
  #held = 0

  private constructor(file: LogFile, log: RecordLog) {
    this.#file = file
    this.#log = log
  }

  /** Starts a log in the workdir. Forgets the intents of the last mount: call `replayIntents` first. */
  static async start(workdirFd: number): Promise<IntentLog> {
    const file = await LogFile.in(workdirFd, NAME)
    try {
      await truncateFd(file.fd, 0)
      const log = await RecordLog.open(file, FORMAT, () => undefined)
      await bestEffort(() => log.reserve(LIMIT_BYTES))
      await takeOver(workdirFd, OLD_NAME, async () => undefined)
      return new IntentLog(file, log)
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** Runs a change. If a name then has both an object and a whiteout, after the change or a crash during it, the whiteout has no effect. */
  async noting<T>(names: readonly UpperName[], change: () => Promise<T>): Promise<T> {
    this.#running++
    try {
      // Without the record, a crash would leave a whiteout that hides nothing.
      await bestEffort(() => this.#append({ at: names.map(place) }))
      return await change()
    } finally {
      this.#running--
    }
  }

  /**
   * Runs a change that moves an object aside to the work directory, under the name it is given. If a crash interrupts it, the object
   * goes back to the first of `names` that is free.
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
    this.#file.close()
  }

  async #append(intent: Intent): Promise<void> {
    // Nothing is being appended now, because a change runs only after its intent is in the file.
    if (this.#log.end > LIMIT_BYTES && this.#running === 1) this.#log.rewind()
    this.#log.append(Buffer.from(JSON.stringify(intent), 'latin1'))
    await this.#log.flushed()
  }
}

function place({ dir, name }: UpperName): Intent['at'][number] {
  const path: Name[] = []
  for (let at: Real | undefined = dir; at?.parent; at = at.parent) path.unshift(at.name)
  return { path, name }
}

/**
 * Repairs what interrupted changes left, according to the log in the workdir: an object held in the work directory goes back, and
 * if a name has both an object and a whiteout, the object stays. Must be called before the work directory is cleaned.
 */
export async function replayIntents(
  workdirFd: number,
  workFd: number,
  upperFd: number,
  whiteoutFor: (name: Name) => Name,
): Promise<Restored[]> {
  const restored: Restored[] = []
  for (const line of await readIntents(workdirFd)) {
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

/** An object that was moved back from the work directory: its name there, and its path from the root of the upper. */
export interface Restored {
  readonly held: Name
  readonly to: readonly Name[]
}

async function putBack(line: Intent, held: Name, workFd: number, upperFd: number): Promise<Restored[]> {
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

/** The intents in the workdir in their order, including those of an earlier version. */
async function readIntents(workdirFd: number): Promise<Intent[]> {
  const old: string[] = []
  await readOld(workdirFd, OLD_NAME, async (fd, size) => {
    const bytes = Buffer.alloc(size)
    const text = bytes.toString('latin1', 0, await pread(fd, bytes, 0, size, 0))
    old.push(...text.split('\n').filter((line) => line.startsWith('{"at":[')))
  })
  const records = (await readRecordFile(workdirFd, NAME, FORMAT.kind, Number.POSITIVE_INFINITY)) ?? []
  const texts = [...old, ...records.map((record) => record.toString('latin1'))]
  return texts.map(parse).filter((intent) => intent !== undefined)
}

/** Undefined for a line that was torn by a crash or overwritten at its start. */
function parse(text: string): Intent | undefined {
  try {
    return JSON.parse(text) as Intent
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Runs `work` with the directory at `path` of the upper, if it exists. */
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
