import { join } from 'node:path'
import type { Logger } from 'pino'
import { isUnwritable, Quota, type QuotaLimits, type QuotaState } from '../../overlay-core/index.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'

/** The file in the directory of a view with its last known usage. */
const USAGE_FILE = 'usage.json'
/** The usage is counted again at each of so many openings, even if it should be right. */
const CHECK_EACH = 16

/** The usage as it is saved. */
interface SavedUsage extends QuotaState {
  /** Whether it was saved after the last change. */
  readonly clean: boolean
  /** How often the view was opened since the usage was last counted by a walk. */
  readonly openings: number
}

/** What the quota of a view works with. */
export interface ViewQuotaParts {
  /** `TEMPLATE/NAME`, for messages. */
  readonly path: string
  /** The directory of the view. */
  readonly directory: string
  readonly log: Logger
  readonly wallNow: () => number
}

/** The quota of an open view, whose usage is saved when the view is closed. After an unclean end it is counted again. */
export class ViewQuota {
  readonly quota: Quota
  readonly #parts: ViewQuotaParts
  #openings: number

  private constructor(quota: Quota, parts: ViewQuotaParts, openings: number) {
    this.quota = quota
    this.#parts = parts
    this.#openings = openings
  }

  /** Reads the last known usage and marks it as not clean, durably, before anything changes. */
  static async open(limits: QuotaLimits, parts: ViewQuotaParts): Promise<ViewQuota> {
    const known = await readUsage(parts.directory)
    const saved = known ?? { bytes: 0, files: 0, clean: false, openings: 0 }
    if (known?.clean) await writeUsage(parts.directory, { ...known, clean: false })
    const aboveSoft = (what: 'bytes' | 'files') =>
      parts.log.warn(
        { view: parts.path },
        `the view ${parts.path} is above its soft limit of ${what}; remove some of its files`,
      )
    const quota = new Quota(limits, saved, !saved.clean, { wallClockMs: parts.wallNow, aboveSoft })
    return new ViewQuota(quota, parts, saved.openings + 1)
  }

  /** Counts again if the usage may be wrong, and now and then anyway. Never rejects. */
  async check(): Promise<void> {
    const { quota } = this
    if (!quota.doubtful && this.#openings < CHECK_EACH) return
    const { path, log } = this.#parts
    const expected = !quota.doubtful
    try {
      const difference = await quota.counter?.()
      if (difference === undefined) return
      this.#openings = 0
      if (expected && (difference.bytes !== 0 || difference.files !== 0))
        log.warn(
          { view: path, difference },
          `the usage of the view ${path} was wrong and is corrected; something else changed its upper`,
        )
    } catch (error) {
      log.warn(
        { err: error, view: path },
        `the usage of the view ${path} could not be counted; it is tried again when the view is opened`,
      )
    }
  }

  /** Saves the usage, after the overlay was unmounted. */
  async save(): Promise<void> {
    await writeUsage(this.#parts.directory, {
      ...this.quota.state,
      clean: !this.quota.doubtful,
      openings: this.#openings,
    })
  }
}

/** The usage that was saved last; undefined if there is none. */
export async function readUsage(directory: string): Promise<SavedUsage | undefined> {
  try {
    const saved = JSON.parse((await readStateFile(join(directory, USAGE_FILE))) ?? 'null') as SavedUsage | null
    const whole = [saved?.bytes, saved?.files, saved?.openings].every((each) => Number.isSafeInteger(each))
    return whole && saved !== null ? saved : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** On a full disk the old file stays. */
async function writeUsage(directory: string, usage: SavedUsage): Promise<void> {
  try {
    await writeStateFile(join(directory, USAGE_FILE), `${JSON.stringify(usage)}\n`)
  } catch (error) {
    if (!isUnwritable(error)) throw error
  }
}
