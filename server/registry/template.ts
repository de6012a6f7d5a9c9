import { isIP } from 'node:net'
import type { Identity, TemplateSettings } from '../../config/index.ts'
import {
  isErrno,
  isUnwritable,
  loopBudget,
  type MaybePromise,
  OptionError,
  OverlayError,
} from '../../overlay-core/index.ts'
import { makeDirectory } from '../make-directory.ts'
import type { RandomBytes } from '../random.ts'
import type { Accounts } from './accounts.ts'
import type { CreationRate } from './creation-rate.ts'
import { EphemeralRegistry } from './ephemeral-registry.ts'
import { needProjects } from './project-support.ts'
import { SharedStack } from './shared-stack.ts'
import { TemplateView, type ViewPlan } from './template-view.ts'
import type { UserQuotas } from './user-quotas.ts'
import { makeEphemeralDirectory, makeViewDirectory, optionsOf, ownerOfDirectory } from './view-directory.ts'
import { foldedName, viewNameError } from './view-name.ts'
import type { ViewPool } from './view-pool.ts'
import { newViewId, type ViewRecord } from './view-record.ts'
import { type Registry, ViewRegistry } from './view-registry.ts'

/** What a template needs. */
export interface TemplateParts {
  readonly pool: ViewPool
  readonly accounts: Accounts
  readonly rate: CreationRate
  /** The quotas of users over all templates. */
  readonly users: UserQuotas
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** The effective user of the server. */
  readonly serverUid: number
}

/** A template: the views of users or machines on one stack. */
export class Template {
  readonly name: string
  settings: TemplateSettings
  readonly #parts: TemplateParts
  readonly #registry: Registry
  readonly #stack = new SharedStack()
  readonly #plan: ViewPlan
  readonly #views = new Map<string, TemplateView>()
  /** The views of each user, and of all (undefined), by their order. */
  readonly #ordered = new Map<number | undefined, TemplateView[]>([[undefined, []]])
  /** Views being made, by folded name. */
  readonly #making = new Map<string, Promise<TemplateView>>()
  /** Changes of the registry take turns. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(name: string, settings: TemplateSettings, parts: TemplateParts, registry: Registry) {
    this.name = name
    this.settings = settings
    this.#parts = parts
    this.#registry = registry
    const users = settings.kind === 'per-user' ? parts.users : undefined
    // This cannot change while the template is open.
    const byFileSystem = settings.quotaBy === 'filesystem'
    this.#plan = {
      template: name,
      pool: parts.pool,
      optionsOf: (id) => optionsOf(this.settings.mount, this.settings.directory, id),
      stackOf: (options) => this.#stack.of(options),
      idleMs: () => this.settings.idleMs,
      settle: (id) => registry.settle(id),
      limits: () => (byFileSystem ? undefined : this.settings.quota) ?? (users?.isOn ? {} : undefined),
      projectLimits: () => (byFileSystem ? (this.settings.quota ?? {}) : undefined),
      random: parts.random,
      users,
      wallNow: parts.wallNow,
      ephemeral: settings.ephemeral
        ? { takeOut: (view) => this.#expire(view), gone: (record) => this.#erase(record) }
        : undefined,
    }
    const records = [...registry.list()].sort((a, b) => a.order - b.order)
    for (const record of records) this.#put(new TemplateView(record, this.#plan))
  }

  /** Reads the registry. Opens no view. @throws OptionError naming `directory` */
  static async open(name: string, settings: TemplateSettings, parts: TemplateParts): Promise<Template> {
    const { log, now } = parts.pool
    if (settings.quotaBy === 'filesystem') {
      await makeDirectory(settings.directory)
      await needProjects(settings.directory)
    }
    const registry = settings.ephemeral
      ? await EphemeralRegistry.open(settings, log, now)
      : await ViewRegistry.open(settings.directory, log)
    return new Template(name, settings, parts, registry)
  }

  /** The views, by their order. */
  list(): Iterable<TemplateView> {
    return this.#views.values()
  }

  /** The views of a user, or of all, that come after `order`. */
  *listAfter(order: number, uid: number | undefined): Iterable<TemplateView> {
    const views = this.#ordered.get(uid) ?? []
    for (let at = firstAfter(views, order); at < views.length; at++) yield views[at] as TemplateView
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

  /** The view whose name differs from this at most in case or Unicode form. */
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
      const owner = await this.#ownerOf(name)
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
    this.#refuseName(name)
    if (this.#isFull)
      throw new OptionError(
        'view',
        `${this.name} has ${this.settings.maxViews} views already; remove one, or raise max_views`,
      )
    const owner = await this.#ownerOf(name)
    if (owner === undefined)
      throw new OptionError(
        'view',
        `there is no user ${JSON.stringify(name)}; add one, or set views.${this.name}.owner`,
      )
    try {
      const made = await this.#make(name, owner)
      if (made.record.name !== name) this.#refuseName(name)
      await this.#registry.settle(made.record.id)
      return made
    } catch (error) {
      throw this.#refusal(name, this.byName(name) === undefined ? 'be made' : 'be made durable', error)
    }
  }

  /** Gives a view another name. Its handles and locks stay valid. @throws OptionError naming `view` */
  async rename(view: TemplateView, name: string): Promise<void> {
    if (this.#registry.alike(name)?.id !== view.record.id) this.#refuseName(name)
    else if (viewNameError(name) !== undefined) throw new OptionError('view', viewNameError(name) as string)
    const before = view.record.name
    try {
      // A request for the new name meanwhile gets this view and makes none.
      await this.#reserving(name, async () => {
        view.record = await this.#inTurn(() => this.#registry.rename(view.record, name))
        return view
      })
      await view.renamed(before)
    } catch (error) {
      throw this.#refusal(view.record.name, 'be renamed', error)
    }
  }

  /** Removes a view with everything in it. A new one with its name is another view. @throws OptionError naming `view` */
  async remove(view: TemplateView): Promise<void> {
    const { id, name } = view.record
    try {
      await this.#inTurn(() => this.#registry.remove(view.record))
      this.#takeOut(view)
      await view.remove()
      await this.#registry.erase(id)
      this.#plan.users?.changed(name)
    } catch (error) {
      throw this.#refusal(name, 'be removed completely', error)
    }
  }

  /** Applies changed settings to the open views. @returns the errors */
  async change(settings: TemplateSettings): Promise<unknown[]> {
    const unchanged = JSON.stringify(this.settings.mount) === JSON.stringify(settings.mount)
    this.settings = settings
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
    const ends: Promise<void>[] = []
    for (const view of this.#views.values()) {
      ends.push(view.end())
      if (loopBudget.spent) await loopBudget.rest()
    }
    await Promise.all(ends)
    await this.#stack.close()
    await this.#registry.close()
  }

  /** Whether it has as many views as it may have, with those being made. */
  get #isFull(): boolean {
    return this.#views.size + this.#making.size >= this.settings.maxViews
  }

  #put(view: TemplateView): void {
    const { id, uid, order } = view.record
    this.#views.set(id, view)
    for (const key of [undefined, uid]) {
      const views = this.#ordered.get(key) ?? []
      views.splice(firstAfter(views, order), 0, view)
      this.#ordered.set(key, views)
    }
  }

  #takeOut(view: TemplateView): void {
    const { id, uid } = view.record
    this.#views.delete(id)
    for (const key of [undefined, uid]) {
      const views = this.#ordered.get(key) ?? []
      views.splice(views.indexOf(view), 1)
      if (views.length === 0 && key !== undefined) this.#ordered.delete(key)
    }
  }

  #refuseName(name: string): void {
    const wrong = viewNameError(name)
    if (wrong !== undefined) throw new OptionError('view', wrong)
    if (this.settings.kind === 'per-machine' && isIP(name) === 0)
      throw new OptionError(
        'view',
        `${JSON.stringify(name)} is not the address of a machine; give an IPv4 or IPv6 address`,
      )
    if (this.#making.has(foldedName(name)))
      throw new OptionError('view', `${this.name}/${name} is being made; choose another name`)
    const alike = this.#registry.alike(name)
    if (alike === undefined) return
    const same = alike.name === name ? 'exists already' : `differs from ${this.name}/${alike.name} only in case or form`
    throw new OptionError('view', `${this.name}/${name} ${same}; choose another name`)
  }

  /** The owner of a new view; undefined if there is no such user. */
  async #ownerOf(name: string): Promise<Identity | undefined> {
    const { owner, kind, mount } = this.settings
    const { accounts, serverUid } = this.#parts
    if (owner !== undefined) return owner
    // Only root can make a directory of somebody else.
    if (serverUid !== 0) return { uid: serverUid, gid: process.getegid?.() ?? serverUid }
    return kind === 'per-user' ? await accounts.byName(name) : await ownerOfDirectory(mount.lowerdir[0] as string)
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

  async #makeNow(name: string, { uid, gid }: Identity): Promise<TemplateView> {
    const { random, wallNow } = this.#parts
    const alike = this.#registry.alike(name)
    const known = alike?.name === name ? this.#views.get(alike.id) : undefined
    if (known !== undefined) return known
    if (alike !== undefined) throw new OverlayError('EEXIST', 'make view', `${this.name}/${name}`)
    let id = newViewId(random)
    while (this.#registry.knows(id)) id = newViewId(random)
    const record = { id, name, uid, gid, order: this.#registry.nextOrder(), createdMs: wallNow() }
    const options = this.#plan.optionsOf(id)
    const { ephemeral } = this.settings
    if (ephemeral) await makeEphemeralDirectory(options, { uid, gid })
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
    if (error instanceof OptionError) return new OptionError('view', error.reason)
    const { code, message } = error as NodeJS.ErrnoException
    if (isUnwritable(error))
      return new OptionError(
        'view',
        `${this.name}/${name} cannot ${what}: no space in ${this.settings.directory}; free some`,
      )
    return new OptionError(
      'view',
      `${this.name}/${name} cannot ${what} (${code ?? message}); the log of the server says why`,
    )
  }
}

/** The index of the first view with a higher order. */
function firstAfter(views: readonly TemplateView[], order: number): number {
  let [from, to] = [0, views.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if ((views[middle] as TemplateView).record.order > order) to = middle
    else from = middle + 1
  }
  return from
}
