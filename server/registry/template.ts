import type { Identity, TemplateSettings } from '../../config/index.ts'
import {
  isErrno,
  isUnwritable,
  loopBudget,
  type MaybePromise,
  OptionError,
  OverlayError,
} from '../../overlay-core/index.ts'
import { TemplateRebases } from '../rebase/template-rebases.ts'
import { type ForkOptions, makeForkDirectory } from './fork-directory.ts'
import { keepVersions } from './keep-versions.ts'
import type { MachineNames } from './machine-names.ts'
import { fullError, noUserError, ownerOfNew, refuseNewName } from './new-view.ts'
import { openRegistry } from './open-registry.ts'
import { openMemoryOf } from './open-stack-memory.ts'
import { OrderedViews } from './ordered-views.ts'
import { refusalOf } from './refusal.ts'
import { SharedStack } from './shared-stack.ts'
import { SnapshotViews } from './snapshot-views.ts'
import { openSnapshots, type Snapshots } from './snapshots.ts'
import { Squashes } from './squashes.ts'
import { versionsOfNew, withNewest } from './template-lowers.ts'
import type { TemplateParts } from './template-parts.ts'
import { makePlan } from './template-plan.ts'
import { TemplateTrash } from './template-trash.ts'
import { TemplateView } from './template-view.ts'
import { makeBareDirectory, makeViewDirectory } from './view-directory.ts'
import { newViewId } from './view-id.ts'
import { foldedName, viewNameError } from './view-name.ts'
import type { ViewPlan } from './view-plan.ts'
import type { ViewRecord } from './view-record.ts'
import type { Registry } from './view-registry.ts'

/** A template: the views of users or machines on one stack. */
export class Template {
  readonly name: string
  settings: TemplateSettings
  readonly #parts: TemplateParts
  readonly #registry: Registry
  readonly #stack: SharedStack
  readonly #plan: ViewPlan
  /** Undefined for views that are not kept. */
  readonly #squashes: Squashes | undefined
  /** Puts its views on other versions of their layers. */
  readonly rebases: TemplateRebases
  /** The snapshots as clients see them; undefined if the views have none. */
  readonly snapshotViews: SnapshotViews | undefined
  /** What was removed and can be restored. */
  readonly trash: TemplateTrash
  readonly #views = new Map<string, TemplateView>()
  readonly #ordered = new OrderedViews()
  /** Views being made, by folded name. */
  readonly #making = new Map<string, Promise<TemplateView>>()
  /** Changes of the registry take turns. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(name: string, settings: TemplateSettings, parts: TemplateParts, registry: Registry) {
    this.name = name
    this.settings = settings
    this.#parts = parts
    this.#registry = registry
    this.#stack = new SharedStack(() => openMemoryOf(name, this.settings, parts.pool.log))
    this.#plan = makePlan({
      ...{ name, parts, registry, stack: this.#stack, settings: () => this.settings },
      beforeUse: (view, overlay) => this.rebases.beforeUse(view, overlay),
      takeOut: (view) => this.#expire(view),
      gone: (record) => this.#erase(record),
    })
    this.trash = new TemplateTrash({
      ...{ bin: registry.bin, views: () => this.list(), snapshots: () => this.snapshots },
      restore: (to, restored) => {
        this.#refuseName(to)
        return this.#reserving(to, async () => this.#restored(await this.#inTurn(restored)))
      },
      remove: (view) => this.#inTurn(() => registry.remove(view)).then(() => registry.erase(view.id)),
    })
    const [{ layers }, { log }] = [registry, parts.pool]
    if (layers) {
      const byId = (id: string | undefined) => this.#views.get(id ?? '')
      const bySnapshot = (top: string) => byId(registry.bySnapshot(top)?.id)
      this.snapshotViews = new SnapshotViews({ plan: this.#plan, layers, byId, bySnapshot })
    }
    this.#squashes = layers && new Squashes({ layers, log, threshold: () => this.settings.squashAbove })
    const refusal = (view: string, what: string, error: unknown) => this.#refusal(view, what, error)
    this.rebases = new TemplateRebases({ ...parts, registry, template: this, stackOf: this.#plan.stackOf, refusal })
    const records = [...registry.list()].sort((a, b) => a.order - b.order)
    for (const record of records) this.#put(new TemplateView(record, this.#plan))
  }

  /** Reads the registry. Opens no view. @throws OptionError naming `directory` */
  static async open(name: string, settings: TemplateSettings, parts: TemplateParts): Promise<Template> {
    const registry = await openRegistry(settings, parts.pool)
    const template = new Template(name, settings, parts, registry)
    await keepVersions(template.list(), settings, registry)
    return template
  }

  /** The views, by their order. */
  list(): Iterable<TemplateView> {
    return this.#views.values()
  }

  /** The views of a user, or of all, that come after `order`. */
  listAfter(order: number, uid: number | undefined): Iterable<TemplateView> {
    return this.#ordered.after(order, uid)
  }

  /** Set if machines boot from it. */
  get machines(): MachineNames | undefined {
    return this.settings.boots ? this.#parts.machines : undefined
  }

  get size(): number {
    return this.#views.size
  }

  byId(id: string): TemplateView | undefined {
    return this.#views.get(id)
  }

  byName(name: string): TemplateView | undefined {
    const record = this.#registry.byName(name)
    return record && this.#views.get(record.id)
  }

  /** The view whose name differs from this at most in case or form. */
  alike(name: string): TemplateView | undefined {
    const record = this.#registry.alike(name)
    return record && this.#views.get(record.id)
  }

  /**
   * The view with this name. If there is none, makes it for a request from `address`, if the template allows that; undefined if not, or if no user has this name.
   *
   * @throws OverlayError EAGAIN the address made too many · ENOSPC | EDQUOT | EROFS · EIO
   */
  reach(name: string, address: string): MaybePromise<TemplateView | undefined> {
    return this.byName(name) ?? (this.settings.create ? this.#reachNew(name, address) : undefined)
  }

  async #reachNew(name: string, address: string): Promise<TemplateView | undefined> {
    const { pool, rate } = this.#parts
    const path = `${this.name}/${name}`
    const running = await this.#making.get(foldedName(name))
    if (running !== undefined) return running.record.name === name ? running : undefined
    if (viewNameError(name) !== undefined || this.#registry.alike(name) !== undefined) return undefined
    if (this.#isFull || !rate.take(address)) {
      pool.log.warn(
        { client: address, template: this.name },
        'a view was not made: there are too many, or this client makes too many',
      )
      throw new OverlayError('EAGAIN', 'make view', path)
    }
    try {
      const owner = await ownerOfNew(name, this.settings, this.#parts)
      if (owner === undefined) return undefined
      if (this.#isFull) throw new OverlayError('EAGAIN', 'make view', path)
      const made = await this.#make(name, owner)
      // A request for a name that differs only in case may have been faster.
      return made.record.name === name ? made : undefined
    } catch (error) {
      pool.log.error({ err: error, view: path }, `the view ${path} cannot be made: ${(error as Error).message}`)
      if (isErrno(error)) throw error
      throw new OverlayError(isUnwritable(error) ? 'ENOSPC' : 'EIO', 'make view', path, error)
    }
  }

  /** Makes a view by command; it is durable then. @throws OptionError naming `view` */
  async create(name: string): Promise<TemplateView> {
    const owner = await this.#ownerOfNew(name)
    try {
      const made = await this.#make(name, owner)
      if (made.record.name !== name) this.#refuseName(name)
      await this.#registry.settle(made.record.id)
      return made
    } catch (error) {
      throw this.#refusal(name, this.byName(name) === undefined ? 'be made' : 'be made durable', error)
    }
  }

  /** The time of day, in ms since the epoch. */
  wallNow(): number {
    return this.#parts.wallNow()
  }

  /** The snapshots and forks of the views. @throws OptionError naming `view`: nothing of these views is kept */
  get snapshots(): Snapshots {
    const { layers } = this.#registry
    const refusal = (name: string, what: string, error: unknown) => this.#refusal(name, what, error)
    const parts = { ...this.#parts, layers, refusal, squashes: this.#squashes }
    return openSnapshots(this.name, this.settings, parts)
  }

  /**
   * Makes a view with the present content of `source`, in constant time. From then on neither sees the changes of the other. It is durable then.
   *
   * @throws OptionError naming `view`
   */
  async fork(source: TemplateView, name: string, how: ForkOptions = {}): Promise<TemplateView> {
    const owner = await this.#ownerOfNew(name, how.sameOwner ? source.record : undefined)
    try {
      return await source.inTurn(async () => {
        await this.snapshots.freezeInTurn(source)
        const made = await this.#reserving(name, () => this.#makeNow(name, owner, { source, ...how }))
        await this.#registry.settle(made.record.id)
        return made
      })
    } catch (error) {
      throw this.#refusal(source.record.name, 'be forked', error)
    }
  }

  /** The owner of a view that a command makes: `given`, or that of its name. @throws OptionError naming `view` */
  async #ownerOfNew(name: string, given?: Identity): Promise<Identity> {
    this.#refuseName(name)
    if (this.#isFull) throw fullError(this.name, this.settings)
    const owner = given ?? (await ownerOfNew(name, this.settings, this.#parts))
    if (owner === undefined) throw noUserError(name, this.name)
    return owner
  }

  /** Gives a view another name. Its handles and locks stay valid. @throws OptionError naming `view` */
  async rename(view: TemplateView, name: string): Promise<void> {
    if (this.#registry.alike(name)?.id !== view.record.id) this.#refuseName(name)
    else if (viewNameError(name) !== undefined) throw new OptionError('view', viewNameError(name) as string)
    const before = view.record.name
    try {
      // A request for the new name meanwhile gets this view and makes none.
      await this.#reserving(name, async () => {
        view.record = await view.inTurn(() => this.#inTurn(() => this.#registry.rename(view.record, name)))
        return view
      })
      await view.renamed(before)
    } catch (error) {
      throw this.#refusal(view.record.name, 'be renamed', error)
    }
  }

  /**
   * Removes a view with everything in it. It goes to the trash of the template, if there is one; with `forGood` it is deleted. A new one with its name is another view.
   *
   * @throws OptionError naming `view`
   */
  async remove(view: TemplateView, { forGood = false }: { readonly forGood?: boolean } = {}): Promise<void> {
    const { id, name } = view.record
    const bin = forGood || !this.settings.trashMs ? undefined : this.#registry.bin
    try {
      if (bin) await this.#registry.settle(id)
      const takeOut = () => (bin ? bin.take(view.record, this.wallNow()) : this.#registry.remove(view.record))
      await view.inTurn(() => this.#inTurn(takeOut))
      this.#takeOut(view)
      await view.remove()
      await this.snapshotViews?.forget((view.record.snapshots ?? []).map(({ top }) => top))
      if (!bin) await this.#registry.erase(id)
      this.#plan.users?.changed(name)
    } catch (error) {
      throw this.#refusal(name, 'be removed completely', error)
    }
  }

  /** Lets views that are made from now on lie on another version of a layer, where the template does not name one. */
  useNewest(layer: string, version: string): void {
    this.settings = withNewest(this.settings, layer, version)
  }

  #restored(record: ViewRecord): TemplateView {
    const view = new TemplateView(record, this.#plan)
    this.#put(view)
    this.#plan.users?.changed(record.name)
    return view
  }

  /** Applies changed settings to the open views. @returns the errors */
  async change(settings: TemplateSettings): Promise<unknown[]> {
    const unchanged = JSON.stringify(this.settings.mount) === JSON.stringify(settings.mount)
    this.settings = settings
    if (!unchanged) this.#stack.endAll()
    await keepVersions(this.list(), this.settings, this.#registry)
    const errors: unknown[] = []
    const changes: Promise<unknown>[] = []
    for (const view of [...this.#views.values()]) {
      const changed = unchanged ? view.limit() : view.remount()
      changes.push(changed.catch((error) => errors.push(error)))
      if (loopBudget.spent) await loopBudget.rest()
    }
    await Promise.all(changes)
    return errors
  }

  /** Closes its views, which must not be used any more, and the registry. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#making.values())
    this.#squashes?.stop()
    const ends: Promise<void>[] = []
    for (const view of this.#views.values()) {
      ends.push(view.end())
      if (loopBudget.spent) await loopBudget.rest()
    }
    await Promise.all(ends)
    await this.#squashes?.ended()
    const { log } = this.#parts.pool
    await this.#stack
      .close()
      .catch((error: unknown) =>
        log.warn({ err: error, template: this.name }, 'file handles of lower objects may not be on disk'),
      )
    await this.#registry.close()
  }

  /** Whether it has as many views as it may have, with those being made. */
  get #isFull(): boolean {
    return this.#views.size + this.#making.size >= this.settings.maxViews
  }

  #put(view: TemplateView): void {
    this.#views.set(view.record.id, view)
    this.#ordered.add(view)
  }

  #takeOut(view: TemplateView): void {
    this.#views.delete(view.record.id)
    this.#ordered.remove(view)
  }

  #refuseName(name: string): void {
    const making = this.#making.has(foldedName(name))
    refuseNewName(name, { template: this.name, settings: this.settings, making, alike: this.#registry.alike(name) })
  }

  /** Concurrent calls for one name make one view, whose name may differ from this in case or Unicode form. */
  #make(name: string, owner: Identity): Promise<TemplateView> {
    const running = this.#making.get(foldedName(name))
    if (running !== undefined) return running
    return this.#reserving(name, () => this.#makeNow(name, owner))
  }

  /** While `work` gives a view this name, others wait for it. */
  #reserving(name: string, work: () => Promise<TemplateView>): Promise<TemplateView> {
    const folded = foldedName(name)
    const made = work().finally(() => this.#making.delete(folded))
    this.#making.set(folded, made)
    return made
  }

  async #makeNow(
    name: string,
    { uid, gid }: Identity,
    { source, ttlMs, ephemeral: ends }: ForkOptions & { readonly source?: TemplateView } = {},
  ): Promise<TemplateView> {
    const { random, wallNow } = this.#parts
    const alike = this.#registry.alike(name)
    const known = alike?.name === name ? this.#views.get(alike.id) : undefined
    if (known !== undefined) return known
    if (alike !== undefined) throw new OverlayError('EEXIST', 'make view', `${this.name}/${name}`)
    let id = newViewId(random)
    while (this.#registry.knows(id)) id = newViewId(random)
    const versions = source ? source.record.versions : versionsOfNew(this.settings)
    const about = { order: this.#registry.nextOrder(), createdMs: wallNow(), top: source?.record.top, versions }
    const end = { ...(ttlMs !== undefined && { endsMs: wallNow() + ttlMs }), ...(ends && { ephemeral: true }) }
    const record: ViewRecord = { id, name, uid, gid, ...about, ...end }
    const options = this.#plan.optionsOf(record)
    const { ephemeral } = this.settings
    if (source) await makeForkDirectory(options, record, this.#plan.optionsOf(source.record))
    else if (ephemeral) await makeBareDirectory(options, { uid, gid })
    else await makeViewDirectory(options, record, { uid, gid })
    this.#registry.add(record)
    const view = new TemplateView(record, this.#plan)
    this.#put(view)
    if (ephemeral) {
      // Its idle time begins now, even if nobody comes to use it.
      await view.use()
      view.release()
    }
    return view
  }

  /** Takes out an ephemeral view that is about to be closed, at once, so that the next request makes another one. */
  #expire(view: TemplateView): void {
    void this.#registry.remove(view.record)
    this.#takeOut(view)
  }

  /** Deletes an ephemeral view that is closed. */
  async #erase({ id, name }: ViewRecord): Promise<void> {
    await this.#registry.erase(id)
    this.#plan.users?.changed(name)
    await this.#parts.pool.hooks.removed(id)
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => undefined)
    return done
  }

  #refusal(name: string, what: string, error: unknown): OptionError {
    return refusalOf(`${this.name}/${name}`, what, this.settings.directory, error)
  }
}
