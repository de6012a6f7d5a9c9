import { dirname } from 'node:path'
import {
  isErrno,
  type MaybePromise,
  type MountOptions,
  mount,
  OptionError,
  type Overlay,
  OverlayError,
  type Quota,
  type QuotaLimits,
  type Stack,
} from '../../overlay-core/index.ts'
import { hasUpper } from './view-directory.ts'
import type { Closable, ViewPool } from './view-pool.ts'
import { ViewQuota, type ViewQuotaParts } from './view-quota.ts'
import type { ViewRecord } from './view-record.ts'

/** After a failure the view is not tried again for this long. */
const RETRY_MS = 1000

/** What a view of a template needs from it. */
export interface ViewPlan {
  readonly template: string
  readonly pool: ViewPool
  /** The present mount options of the view with this id. */
  readonly optionsOf: (id: string) => MountOptions
  /** The stack for these options. @throws OptionError a lower is missing */
  readonly stackOf: (options: MountOptions) => Promise<Stack>
  readonly idleMs: () => number
  /** The present limits of a view; undefined without a quota. */
  readonly limits: () => QuotaLimits | undefined
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
}

/**
 * A view of a template, opened at its first use and closed when it was idle for a while. Uses are counted: it is never closed while a request runs.
 */
export class TemplateView implements Closable {
  record: ViewRecord
  readonly #plan: ViewPlan
  #overlay: Overlay | undefined
  #guarded: Overlay | undefined
  #quota: ViewQuota | undefined
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #uses = 0
  #removed = false
  #failure: { readonly error: OverlayError; readonly atMs: number } | undefined

  constructor(record: ViewRecord, plan: ViewPlan) {
    this.record = record
    this.#plan = plan
  }

  get idleMs(): number {
    return this.#plan.idleMs()
  }

  /** The name as people know it: `TEMPLATE/NAME`. */
  get path(): string {
    return `${this.#plan.template}/${this.record.name}`
  }

  get uses(): number {
    return this.#uses
  }

  /** Why it could not be opened when it was last tried. */
  get failure(): string | undefined {
    return (
      this.#failure && String((this.#failure.error.cause as Error | undefined)?.message ?? this.#failure.error.message)
    )
  }

  /** The overlay; undefined while it is closed. */
  get overlay(): Overlay | undefined {
    return this.#closing === undefined ? this.#overlay : undefined
  }

  /** The overlay as NFS sees it. Valid while it is in use. */
  get guarded(): Overlay {
    return this.#guarded!
  }

  /** The usage and the limits that count now; undefined without a quota, or while it is closed. */
  get quota(): Quota | undefined {
    return this.#quota?.quota
  }

  /** Counts a use, which `release` ends, and opens the view if it is closed. @throws OverlayError ESTALE removed · EIO, ENOSPC and others: cannot be opened */
  use(): MaybePromise<Overlay> {
    if (this.#overlay === undefined || this.#closing !== undefined || this.#removed) return this.#useLater()
    if (this.#uses++ === 0) this.#plan.pool.busy(this)
    return this.#overlay
  }

  release(): void {
    if (--this.#uses === 0 && this.#overlay !== undefined) this.#plan.pool.idle(this)
  }

  /** Changes the stack or options of an open view; a closed one gets them when it is opened. @throws OptionError */
  async remount(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    this.#quota?.quota.setLimits(this.#plan.limits() ?? {})
    await this.overlay?.remount(this.#plan.optionsOf(this.record.id))
  }

  /** Closes it unless it is in use. Never rejects. */
  close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    if (this.#uses > 0 || this.#overlay === undefined) return Promise.resolve()
    return this.#close(this.#overlay)
  }

  /** Lets nobody use it any more: calls that run fail with ESTALE, and so do all later ones. */
  async remove(): Promise<void> {
    this.#removed = true
    await this.end()
  }

  /** Closes it even if it is in use: calls that run fail with ESTALE. Never rejects. */
  async end(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    await this.#closing
    if (this.#overlay !== undefined) await this.#close(this.#overlay)
  }

  #close(overlay: Overlay): Promise<void> {
    const { pool } = this.#plan
    pool.busy(this)
    this.#closing = this.#letGo(overlay).finally(() => {
      this.#overlay = undefined
      this.#guarded = undefined
      this.#quota = undefined
      this.#closing = undefined
      pool.closed(this)
    })
    return this.#closing
  }

  async #letGo(overlay: Overlay): Promise<void> {
    const { hooks, log } = this.#plan.pool
    try {
      await hooks.closing(this.record.id)
      // Makes unstable data durable first.
      await overlay.unmount()
      await this.#quota?.save()
    } catch (error) {
      log.error({ err: error, view: this.path }, 'closing a view failed: its latest changes may not be on disk')
      hooks.lost(error)
    }
  }

  async #useLater(): Promise<Overlay> {
    // Counted at once, so that the view is not closed before its first use.
    this.#uses++
    try {
      for (;;) {
        if (this.#removed) throw new OverlayError('ESTALE', 'open view', this.path)
        if (this.#closing !== undefined) await this.#closing
        else if (this.#overlay !== undefined) return this.#overlay
        else await this.#open()
      }
    } catch (error) {
      this.release()
      throw error
    }
  }

  #open(): Promise<void> {
    const { pool } = this.#plan
    if (this.#failure !== undefined && pool.now() - this.#failure.atMs < RETRY_MS) throw this.#failure.error
    this.#opening ??= pool
      .inTurn(() => this.#mount())
      .finally(() => {
        this.#opening = undefined
      })
    return this.#opening
  }

  async #mount(): Promise<void> {
    const { pool, optionsOf, stackOf } = this.#plan
    const { id } = this.record
    try {
      const options = optionsOf(id)
      // An empty upper in its place would hide the loss.
      if (!(await hasUpper(options)))
        throw new Error(`its upper ${options.upperdir} is gone; put it back, or remove the view`)
      // The registry has claimed the directory of all views.
      const limits = this.#plan.limits()
      const quota = limits && (await ViewQuota.open(limits, this.#quotaParts(options)))
      const environment = { stack: await stackOf(options), claimed: true, quota: quota?.quota }
      const overlay = await mount(options, environment)
      this.#quota = quota
      this.#overlay = overlay
      this.#guarded = pool.hooks.guarded(id, overlay)
      this.#failure = undefined
    } catch (error) {
      throw this.#failed(error)
    }
    pool.opened(this)
    void this.#quota?.check()
    for (const notice of this.#overlay.notices) pool.log.debug({ view: this.path }, notice)
  }

  #quotaParts({ upperdir }: MountOptions): ViewQuotaParts {
    const { pool, wallNow } = this.#plan
    return { path: this.path, directory: dirname(upperdir as string), log: pool.log, wallNow }
  }

  #failed(error: unknown): OverlayError {
    const { pool } = this.#plan
    const code = isErrno(error) ? error.code : 'EIO'
    const failure = new OverlayError(code, 'open view', this.path, error)
    const again = this.#failure?.error.code === code
    this.#failure = { error: failure, atMs: pool.now() }
    const reason = error instanceof OptionError || error instanceof Error ? error.message : String(error)
    pool.log[again ? 'debug' : 'error'](
      { err: error, view: this.path },
      `the view ${this.path} cannot be opened: ${reason}`,
    )
    return failure
  }
}
