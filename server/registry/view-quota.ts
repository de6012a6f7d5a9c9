import { join } from 'node:path'
import type { Logger } from 'pino'
import { isUnwritable, Quota, type QuotaLimits, type QuotaState } from '../../overlay-core/index.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'
import type { Membership } from './user-quotas.ts'

/** The file in the directory of a view with its last known usage. */
const USAGE_FILE = 'usage.json'
/** The usage is counted again at each of so many openings, even if it should be right. */
const CHECK_EACH = 16

/** The usage as it is saved. */
export interface SavedUsage extends QuotaState {
  /** Whether it was saved after the last change. */
  readonly clean: boolean
  /** How often the view was opened since the usage was last counted by a walk. */
  readonly openings: number
  /** Since when the user is above the soft limits for all views together, and when that was saved. */
  readonly user?: (Membership['since'] & { readonly savedMs: number }) | undefined
}

const NEW: SavedUsage = { bytes: 0, files: 0, clean: true, openings: 0 }

/** What the quota of a view works with. */
export interface ViewQuotaParts {
  /** `TEMPLATE/NAME`, for messages. */
  readonly path: string
  /** The directory of the view; undefined if its usage is not saved, because the view ends when it is closed. */
  readonly directory: string | undefined
  readonly log: Logger
  readonly wallNow: () => number
  /** Counts it in the quota of its present user; undefined if it has none. */
  readonly enter: ((quota: Quota, save: () => void) => Promise<Membership>) | undefined
}

/** The quota of an open view, whose usage is saved when the view is closed. After an unclean end it is counted again. */
export class ViewQuota {
  readonly quota: Quota
  readonly #parts: ViewQuotaParts
  #openings: number
  #membership: Membership | undefined
  #saving: Promise<unknown> = Promise.resolve()

  private constructor(quota: Quota, parts: ViewQuotaParts, openings: number) {
    this.quota = quota
    this.#parts = parts
    this.#openings = openings
  }

  /** Reads the last known usage and marks it as not clean, durably, before anything changes. */
  static async open(limits: QuotaLimits, parts: ViewQuotaParts): Promise<ViewQuota> {
    const { directory } = parts
    const known = directory === undefined ? NEW : await readUsage(directory)
    const saved = known ?? { ...NEW, clean: false }
    if (directory !== undefined && known?.clean) await writeUsage(directory, { ...known, clean: false })
    let view: ViewQuota | undefined
    const aboveSoft = (what: 'bytes' | 'files') => {
      const message = `the view ${parts.path} is above its soft limit of ${what}; remove some of its files`
      parts.log.warn({ view: parts.path }, message)
      view?.saveSoon()
    }
    const quota = new Quota(limits, saved, !saved.clean, { wallClockMs: parts.wallNow, aboveSoft })
    view = new ViewQuota(quota, parts, saved.openings + 1)
    await view.enter()
    return view
  }

  /** Counts it in the quota of its present user, and no more in that of an earlier one. */
  async enter(): Promise<void> {
    this.leave()
    this.#membership = await this.#parts.enter?.(this.quota, () => this.saveSoon())
  }

  /** Ends that. Its present usage counts on for the user. */
  leave(): void {
    this.#membership?.leave()
    this.#membership = undefined
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
    await this.#save(!this.quota.doubtful)
  }

  /** Saves since when the usage is above a soft limit, while changes go on. Never rejects. */
  saveSoon(): void {
    this.#save(false).catch((error) =>
      this.#parts.log.warn({ err: error, view: this.#parts.path }, 'the usage of a view could not be saved'),
    )
  }

  /** Saves what is known when earlier writes have ended, which is after the change that asked for it. */
  #save(clean: boolean): Promise<void> {
    const { directory, wallNow } = this.#parts
    if (directory === undefined) return Promise.resolve()
    const membership = this.#membership
    const saved = this.#saving.then(() => {
      const user = membership && { ...membership.since, savedMs: wallNow() }
      return writeUsage(directory, { ...this.quota.state, clean, openings: this.#openings, user })
    })
    this.#saving = saved.catch(() => undefined)
    return saved
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
export async function writeUsage(directory: string, usage: SavedUsage): Promise<void> {
  try {
    await writeStateFile(join(directory, USAGE_FILE), `${JSON.stringify(usage)}\n`)
  } catch (error) {
    if (!isUnwritable(error)) throw error
  }
}
