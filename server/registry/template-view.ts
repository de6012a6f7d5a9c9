import { dirname } from 'node:path'
import {
  isErrno,
  isUnwritable,
  type MaybePromise,
  type MountOptions,
  mount,
  OptionError,
  type Overlay,
  OverlayError,
  type Quota,
  type Squash,
  type Stack,
} from '../../overlay-core/index.ts'
import { withoutUpper } from '../mount-view.ts'
import { openProject } from './open-project.ts'
import { tellProjectErrors } from './project-errors.ts'
import { UseHold } from './use-hold.ts'
import type { UsersView } from './user-quotas.ts'
import { hasUpper, upperIsGone } from './view-directory.ts'
import type { FreezeHow, ViewPlan } from './view-plan.ts'
import type { Closable } from './view-pool.ts'
import { ViewProject } from './view-project.ts'
import { ViewQuota, type ViewQuotaParts } from './view-quota.ts'
import type { ViewRecord } from './view-record.ts'

export type { ViewPlan } from './view-plan.ts'

/** After a failure the view is not tried again for this long. */
const RETRY_MS = 1000

/**
 * A view of a template, opened at its first use and closed when it was idle for a while. Uses are counted: it is never closed while a request runs.
 */
export class TemplateView implements Closable {
  record: ViewRecord
  /** How many times it was opened. */
  openings = 0
  readonly #plan: ViewPlan
  #overlay: Overlay | undefined
  #guarded: Overlay | undefined
  #quota: ViewQuota | undefined
  #project: ViewProject | undefined
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #uses = 0
  #removed = false
  #changing: Promise<unknown> = Promise.resolve()
  /** Set while new uses wait. */
  #hold: UseHold | undefined
  #failure: { readonly error: OverlayError; readonly atMs: number } | undefined

  constructor(record: ViewRecord, plan: ViewPlan) {
    this.record = record
    this.#plan = plan
  }

  get idleMs(): number {
    return this.#plan.idleMs()
  }

  get ephemeral(): boolean {
    return this.#plan.ephemeral !== undefined
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
    if (this.#overlay === undefined || this.#closing !== undefined || this.#removed || this.#hold)
      return this.#useLater()
    if (this.#uses++ === 0) this.#plan.pool.busy(this)
    return this.#overlay
  }

  release(): void {
    if (--this.#uses === 0 && this.#overlay !== undefined) this.#plan.pool.idle(this)
  }

  /** Changes the stack or options of an open view; a closed one gets them when it is opened. @throws OptionError */
  async remount(): Promise<void> {
    await this.limit()
    await this.inTurn(async () => {
      const { overlay } = this
      if (overlay === undefined) return
      const options = this.#plan.optionsOf(this.record)
      await overlay.remount(options, { stack: await this.#plan.stackOf(options) })
    })
  }

  /** Runs a change of the layers of the view after those that are running. */
  inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#changing.then(change)
    this.#changing = turn.catch(() => undefined)
    return turn
  }

  /** Makes the upper a layer in `directory`. `frozen`: the frozen layers of the view from then on. To be called in turn. @throws OptionError · OverlayError */
  async freeze(directory: string, frozen: readonly string[], how: FreezeHow): Promise<void> {
    const { record, prepared = false } = how
    const overlay = how.overlay ?? (await this.use())
    try {
      await overlay.freeze(directory, this.#plan.optionsOf(record, frozen), prepared)
      // Only the new upper counts, and it may have been written to meanwhile.
      void this.#quota?.check()
    } finally {
      if (!how.overlay) this.release()
    }
  }

  /** Puts a merge in `place`, that of one of its frozen layers. `frozen`: the frozen layers from then on. To be called in turn. @throws OptionError · OverlayError */
  async adopt(squash: Squash, place: string, frozen: readonly string[]): Promise<void> {
    const options = this.#plan.optionsOf(this.record, frozen)
    await squash.adopt(place, options, { stack: await this.#plan.stackOf(options) })
  }

  /** How the view is mounted on the layers `frozen` without its upper, read-only; by default at its present versions. */
  lowersOn(frozen: readonly string[], versions = this.record.versions): MountOptions {
    return withoutUpper(this.#plan.optionsOf({ ...this.record, versions }, frozen))
  }

  /** How the view is mounted as `record` says, and the stack for that. @throws OptionError a lower is missing */
  async layersOf(record: ViewRecord): Promise<{ readonly options: MountOptions; readonly stack: Stack }> {
    const options = this.#plan.optionsOf(record)
    return { options, stack: await this.#plan.stackOf(options) }
  }

  /** After its lowers have changed: shares them with the other views on them. What fails is in the log, and the view has lowers of its own. */
  async shareStack(overlay: Overlay): Promise<void> {
    try {
      const { options, stack } = await this.layersOf(this.record)
      await overlay.remount(options, { stack })
    } catch (error) {
      this.#plan.pool.log.warn({ err: error, view: this.path }, 'a view does not share its lowers with the others')
    }
  }

  /** Lets new uses wait, and resolves when only that of the caller is left, or after some seconds. Returns what ends that. */
  async hold(): Promise<() => void> {
    const hold = new UseHold(() => {
      this.#hold = undefined
    })
    this.#hold = hold
    await hold.settled(() => this.#uses === 1 + hold.waiting, this.#plan.pool.now)
    return () => hold.end()
  }

  /** How the view is mounted now. */
  get options(): MountOptions {
    return this.#plan.optionsOf(this.record)
  }

  /** The paths of its frozen layers, topmost first. */
  get frozen(): readonly string[] {
    return this.options.lowerdir.slice(0, this.options.frozen ?? 0)
  }

  /** Applies changed limits to an open view. */
  async limit(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    this.#quota?.quota.setLimits(this.#plan.limits(this.record.id) ?? {})
    await this.#project?.limit(this.#plan.projectLimits() ?? {})
  }

  /** Its project, if the file system limits it; undefined if it has none yet. */
  async project(): Promise<ViewProject | undefined> {
    return this.#project ?? (await ViewProject.find(this.#plan.optionsOf(this.record)))
  }

  /** It as the quota of its user knows it. */
  get asUsersView(): UsersView {
    // Why it cannot be opened is in the log.
    const recount = () => {
      void Promise.resolve(this.use()).then(
        () => this.release(),
        () => undefined,
      )
    }
    return { id: this.record.id, directory: this.#usageDirectory, recount }
  }

  /** The view has another name, and so another user, than `before`. */
  async renamed(before: string): Promise<void> {
    await this.#opening?.catch(() => undefined)
    await this.#quota?.enter()
    for (const user of [before, this.record.name]) this.#plan.users?.changed(user)
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
    await this.#endProject()
  }

  /** Closes it even if it is in use: calls that run fail with ESTALE. Never rejects. */
  async end(): Promise<void> {
    // A change of its layers is recorded when it has been made.
    await this.#changing
    await this.#opening?.catch(() => undefined)
    await this.#closing
    if (this.#overlay !== undefined) await this.#close(this.#overlay)
  }

  #close(overlay: Overlay): Promise<void> {
    const { pool } = this.#plan
    pool.busy(this)
    const ended = this.#takeOut()
    this.#closing = this.#letGo(overlay, ended).finally(() => {
      this.#overlay = undefined
      this.#guarded = undefined
      this.#quota = undefined
      this.#project = undefined
      this.#closing = undefined
      pool.closed(this)
    })
    return this.#closing
  }

  /** Ends an ephemeral view: nobody can use it from now on. Returns whether it must be deleted when it is closed. */
  #takeOut(): boolean {
    const { ephemeral } = this.#plan
    if (ephemeral === undefined || this.#removed) return false
    this.#removed = true
    ephemeral.takeOut(this)
    return true
  }

  async #letGo(overlay: Overlay, ended: boolean): Promise<void> {
    const { ephemeral, pool } = this.#plan
    const { hooks, log } = pool
    try {
      await hooks.closing(this.record.id)
      // Makes unstable data durable first, if it is kept.
      await overlay.unmount({ sync: ephemeral === undefined })
      await this.#quota?.save()
      this.#quota?.leave()
      if (ended) {
        await this.#endProject()
        await ephemeral?.gone(this.record)
      }
    } catch (error) {
      log.error({ err: error, view: this.path }, 'closing a view failed: its latest changes may not be on disk')
      hooks.lost(error)
    } finally {
      this.#quota?.leave()
    }
  }

  /** Lets nothing stay of a view in the quotas of its file system, before it is deleted. */
  async #endProject(): Promise<void> {
    if (this.#plan.projectLimits() === undefined) return
    try {
      await (await this.project())?.end()
    } catch (error) {
      // A directory that is gone has no project.
      if (!isErrno(error)) throw error
    }
  }

  async #useLater(): Promise<Overlay> {
    // Counted at once, so that the view is not closed before its first use.
    this.#uses++
    try {
      for (;;) {
        if (this.#removed) throw new OverlayError('ESTALE', 'open view', this.path)
        if (this.#hold !== undefined) await this.#hold.wait()
        else if (this.#closing !== undefined) await this.#closing
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
    const { pool, optionsOf } = this.#plan
    this.openings++
    const { id } = this.record
    try {
      const options = optionsOf(this.record)
      // The registry has claimed the directory of all views.
      const limits = this.#plan.limits(this.record.id)
      const project = await openProject(this.#plan, this.path, options)
      const quota = limits && (await ViewQuota.open(limits, this.#quotaParts()))
      const mounted = await this.#mountWith(options, quota)
      await this.#plan.beforeUse(this, mounted)
      const overlay = project?.saysNoSpace ? tellProjectErrors(mounted, () => project.isFull()) : mounted
      this.#quota = quota
      this.#project = project
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

  async #mountWith(options: MountOptions, quota: ViewQuota | undefined): Promise<Overlay> {
    const { stackOf, settle, handleDirectory } = this.#plan
    try {
      return await mount(options, {
        ...{ stack: await stackOf(options), claimed: true, quota: quota?.quota },
        ...(handleDirectory && { handleDirectory: await handleDirectory() }),
        settlePlace: () => settle(this.record.id)?.catch((error: unknown) => this.#notDurable(error)),
      })
    } catch (error) {
      quota?.leave()
      // An empty upper in its place would hide the loss.
      if (options.upperdir === undefined || (await hasUpper(options))) throw error
      throw upperIsGone(options)
    }
  }

  /** The directory of the view; undefined if its usage is not saved there. */
  get #usageDirectory(): string | undefined {
    const { ephemeral, optionsOf } = this.#plan
    return ephemeral === undefined ? dirname(optionsOf(this.record).upperdir as string) : undefined
  }

  #quotaParts(): ViewQuotaParts {
    const { pool, wallNow, users } = this.#plan
    const { id } = this.record
    const enter = users && ((quota: Quota, save: () => void) => users.enter(this.record.name, { id, quota, save }))
    return { path: this.path, directory: this.#usageDirectory, log: pool.log, wallNow, enter }
  }

  #notDurable(error: unknown): never {
    throw new OverlayError(isUnwritable(error) ? 'ENOSPC' : 'EIO', 'fsync', this.path, error)
  }

  #failed(error: unknown): OverlayError {
    const { pool } = this.#plan
    const code = isErrno(error) ? error.code : 'EIO'
    const failure = new OverlayError(code, 'open view', this.path, error)
    const again = this.#failure?.error.code === code
    this.#failure = { error: failure, atMs: pool.now() }
    if (this.#takeOut()) void this.#plan.ephemeral?.gone(this.record)
    const reason = error instanceof OptionError || error instanceof Error ? error.message : String(error)
    pool.log[again ? 'debug' : 'error'](
      { err: error, view: this.path },
      `the view ${this.path} cannot be opened: ${reason}`,
    )
    return failure
  }
}
