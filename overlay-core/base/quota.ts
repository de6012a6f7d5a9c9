import { refusedByQuota } from '../api/activity.ts'

/** The limits of a quota, in bytes and objects. A missing limit does not limit. */
export interface QuotaLimits {
  readonly hardBytes?: number | undefined
  readonly softBytes?: number | undefined
  readonly hardFiles?: number | undefined
  readonly softFiles?: number | undefined
  /** How long the usage may be above a soft limit, in ms; after that, the soft limit is the hard one until the usage is below it again. */
  readonly graceMs?: number | undefined
}

/** What an upper contains: the sizes of its regular files, and the number of its objects without whiteouts. */
export interface Usage {
  readonly bytes: number
  readonly files: number
}

/** The usage, and since when it is above the soft limits, in ms since the epoch. */
export interface QuotaState extends Usage {
  readonly bytesAboveSinceMs?: number | undefined
  readonly filesAboveSinceMs?: number | undefined
}

/** What a quota works with. */
export interface QuotaParts {
  /** The time of day, in ms since the epoch. */
  readonly wallClockMs: () => number
  /** Called once when the usage comes above a soft limit. */
  readonly aboveSoft?: (what: 'bytes' | 'files') => void
}

/** The usage of one kind and its limits. */
class Meter {
  used: number
  aboveSinceMs: number | undefined
  hard = Number.POSITIVE_INFINITY
  soft = Number.POSITIVE_INFINITY

  constructor(used: number, aboveSinceMs: number | undefined) {
    this.used = used
    this.aboveSinceMs = aboveSinceMs
  }

  limit(nowMs: number, graceMs: number): number {
    const expired = this.aboveSinceMs !== undefined && nowMs - this.aboveSinceMs >= graceMs
    return expired ? Math.min(this.hard, this.soft) : this.hard
  }

  /** Returns whether the usage has just come above the soft limit. */
  set(used: number, nowMs: () => number): boolean {
    this.used = used
    if (used <= this.soft) {
      this.aboveSinceMs = undefined
      return false
    }
    if (this.aboveSinceMs !== undefined) return false
    this.aboveSinceMs = nowMs()
    return true
  }
}

/**
 * Counts what the upper of an overlay contains, and limits it. Changes are reserved before they are made, synchronously, so that concurrent ones never
 * exceed a hard limit together. What a failed change reserved is given back.
 */
export class Quota {
  readonly #bytes: Meter
  readonly #files: Meter
  readonly #parts: QuotaParts
  #graceMs = 0
  /** Counts the usage too, and limits it. */
  #whole: Quota | undefined
  /**
   * Counts the upper of the mounted overlay again in the background and corrects the usage. Returns the difference; undefined if that failed, because the upper
   * changed meanwhile. Set by the overlay while it is mounted.
   *
   * @throws EIO …
   */
  counter: (() => Promise<Usage | undefined>) | undefined
  /** Counts the changes of the usage. */
  changes = 0
  /** Whether the usage may be wrong, for example after a crash, so that it must be counted again. */
  doubtful: boolean

  /** @param doubtful whether `known` may be wrong */
  constructor(limits: QuotaLimits, known: QuotaState, doubtful: boolean, parts: QuotaParts) {
    this.#bytes = new Meter(known.bytes, known.bytesAboveSinceMs)
    this.#files = new Meter(known.files, known.filesAboveSinceMs)
    this.#parts = parts
    this.doubtful = doubtful
    this.setLimits(limits)
  }

  /** Applies other limits, which may be below the usage. */
  setLimits({ hardBytes, softBytes, hardFiles, softFiles, graceMs = 0 }: QuotaLimits): void {
    const none = Number.POSITIVE_INFINITY
    Object.assign(this.#bytes, { hard: hardBytes ?? none, soft: softBytes ?? none })
    Object.assign(this.#files, { hard: hardFiles ?? none, soft: softFiles ?? none })
    this.#graceMs = graceMs
    this.add(0, 0)
  }

  get state(): QuotaState {
    const { used: bytes, aboveSinceMs: bytesAboveSinceMs } = this.#bytes
    const { used: files, aboveSinceMs: filesAboveSinceMs } = this.#files
    return { bytes, files, bytesAboveSinceMs, filesAboveSinceMs }
  }

  /** Makes this one part of `whole`, which limits its parts together, and counts `counted` for this one already. */
  join(whole: Quota, counted: Usage): void {
    const { bytes, files } = this.state
    this.#whole = whole
    whole.add(bytes - counted.bytes, files - counted.files)
  }

  /** Ends that. The whole goes on counting the present usage. */
  leave(): void {
    this.#whole = undefined
  }

  /** What may be used now: the hard limits, or the soft ones after their grace time. `Infinity` without a limit. */
  get limits(): Usage {
    const own = this.#ownLimits()
    const most = this.#whole?.limits ?? own
    return { bytes: Math.min(own.bytes, most.bytes), files: Math.min(own.files, most.files) }
  }

  /** How much more may be used now. `Infinity` without a limit. */
  get room(): Usage {
    const limits = this.#ownLimits()
    const own = { bytes: limits.bytes - this.#bytes.used, files: limits.files - this.#files.used }
    const most = this.#whole?.room ?? own
    return { bytes: Math.max(0, Math.min(own.bytes, most.bytes)), files: Math.max(0, Math.min(own.files, most.files)) }
  }

  #ownLimits(): Usage {
    const nowMs = this.#parts.wallClockMs()
    return { bytes: this.#bytes.limit(nowMs, this.#graceMs), files: this.#files.limit(nowMs, this.#graceMs) }
  }

  /** Whether so much more may be used. Using less is always possible. */
  admits(bytes: number, files: number): boolean {
    const { room } = this
    return (bytes <= 0 || bytes <= room.bytes) && (files <= 0 || files <= room.files)
  }

  /** Counts a change that is about to be made. @throws EDQUOT it exceeds a limit, and nothing was counted */
  reserve(bytes: number, files: number, op: string): void {
    if (!this.admits(bytes, files)) throw refusedByQuota(op)
    this.add(bytes, files)
  }

  /** Counts a change whatever the limits are. */
  add(bytes: number, files: number): void {
    this.correct({ bytes: this.#bytes.used + bytes, files: this.#files.used + files })
  }

  /** Replaces the usage by a counted one. */
  correct({ bytes, files }: Usage): void {
    const { wallClockMs, aboveSoft } = this.#parts
    this.changes++
    this.#whole?.add(bytes - this.#bytes.used, files - this.#files.used)
    if (this.#bytes.set(bytes, wallClockMs)) aboveSoft?.('bytes')
    if (this.#files.set(files, wallClockMs)) aboveSoft?.('files')
  }
}
