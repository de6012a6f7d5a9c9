import { inOverlayOptions, type ViewSettings } from '../config/index.ts'
import { actsAsRoot, type MountOptions, OptionError, type Overlay, parseOptions } from '../overlay-core/index.ts'
import { layersOf, mountView } from './mount-view.ts'
import { moveHandleDir } from './state-dir.ts'

/** An overlay and the name that clients use for it. */
export interface View {
  readonly name: string
  readonly overlay: Overlay
  readonly settings: ViewSettings
}

/** Whether a view is served by a protocol, as far as that has a listener. */
export function isServedBy(door: 'webdav' | 'nfs', { settings }: View): boolean {
  return settings.doors?.[door] ?? true
}

/** The request of `overlayd remount`. */
export interface RemountRequest {
  /** In the syntax of `-o`. */
  readonly options: string
  /** The directory in which relative paths in `options` start. */
  readonly cwd: string
  readonly view: string
}

/** A view to open: its settings and its final mount options. */
export interface ResolvedViewSettings {
  readonly settings: ViewSettings
  readonly options: MountOptions
}

/** Refuses layers that must not be served. @throws OptionError */
type CheckLayers = (options: MountOptions) => Promise<void>

/** How `Views` opens its views. */
export interface ViewsOptions {
  /** Called before a remount changes layers. */
  readonly checkLayers?: CheckLayers
  /** Told of each view that cannot be opened, which is then left out. Without this, none is opened. */
  readonly failed?: (view: string, error: unknown) => void
}

/** All views of a server by name. Owns their overlays. */
export class Views {
  readonly #views = new Map<string, View>()
  readonly #warnings: string[] = []
  readonly #stateDir: string
  readonly #checkLayers: CheckLayers
  /** The directories in which overlays without an upper store their file handles, by view. */
  readonly #handleDirs = new Map<string, string>()

  private constructor(stateDir: string, checkLayers: CheckLayers) {
    this.#stateDir = stateDir
    this.#checkLayers = checkLayers
  }

  /**
   * Mounts every overlay; if one fails, those before it are released again, unless `failed` is given.
   *
   * @throws OptionError a directory of one of them is missing, unreadable, nested or busy
   */
  static async open(
    plans: readonly ResolvedViewSettings[],
    stateDir: string,
    { checkLayers = async () => undefined, failed }: ViewsOptions = {},
  ): Promise<Views> {
    const views = new Views(stateDir, checkLayers)
    for (const plan of plans) {
      try {
        await views.add(plan)
      } catch (error) {
        if (failed === undefined) {
          await Promise.all(views.list().map((view) => view.overlay.unmount()))
          throw error
        }
        failed(plan.settings.name, error)
      }
    }
    return views
  }

  /** Differences from the requested settings, one sentence each. */
  get warnings(): readonly string[] {
    return this.#warnings
  }

  /** Mounts one more overlay while others are served, if its layers may be served. @throws OptionError as `add` */
  async addChecked(plan: ResolvedViewSettings): Promise<View> {
    await this.#checkLayers(plan.settings.template?.mount ?? plan.options)
    return await this.add(plan)
  }

  /** Mounts one more overlay. @throws OptionError a directory is missing, unreadable, nested or busy */
  async add(plan: ResolvedViewSettings): Promise<View> {
    const { settings } = plan
    const { name } = settings
    if (this.#views.has(name)) throw new OptionError('NAME', `${JSON.stringify(name)} is served already`)
    try {
      const { overlay, handleDir, warning } = await mountView(plan, this.#stateDir)
      const view = { name, overlay, settings }
      if (warning !== undefined) this.#warnings.push(warning)
      if (handleDir !== undefined) this.#handleDirs.set(name, handleDir)
      this.#views.set(name, view)
      return view
    } catch (error) {
      throw error instanceof OptionError ? inOverlayOptions(error) : error
    }
  }

  /** Notes the changed settings of a view. */
  update(settings: ViewSettings): View {
    const view = { ...this.#need(settings.name), settings }
    this.#views.set(settings.name, view)
    return view
  }

  /** Unmounts a view, which must not be served any more. */
  async remove(name: string): Promise<void> {
    const view = this.#views.get(name)
    this.#views.delete(name)
    if (view !== undefined) await closeView(view)
  }

  get(name: string): View | undefined {
    return this.#views.get(name)
  }

  list(): readonly View[] {
    return [...this.#views.values()]
  }

  /**
   * Changes the layers or options of a view while it is served.
   *
   * @throws OptionError there is no such view, or as `Overlay.remount`: then nothing has changed
   */
  async remount({ view: name, options, cwd }: RemountRequest): Promise<void> {
    const { overlay, settings } = this.#need(name)
    if (settings.template !== undefined)
      throw new OptionError(
        'NAME',
        `${JSON.stringify(name)} has many views; change its stack in the file, and run overlayd reload`,
      )
    const privileged = actsAsRoot()
    await this.change(name, parseOptions(options, { cwd, privileged }, overlay.options))
  }

  /** Gives a view these layers and options while it is served. @throws OptionError nothing has changed */
  async change(name: string, options: MountOptions): Promise<void> {
    const view = this.#need(name)
    await this.#checkLayers(options)
    await view.overlay.remount(options)
    const handleDir = this.#handleDirs.get(name)
    if (handleDir === undefined) return
    this.#handleDirs.set(name, await this.#moveHandleDir(view, handleDir))
  }

  /** @throws OptionError there is no such view */
  #need(name: string): View {
    const view = this.#views.get(name)
    if (view !== undefined) return view
    throw new OptionError('NAME', `there is no overlay ${JSON.stringify(name)}; see overlayd status for the names`)
  }

  #moveHandleDir({ name, overlay, settings }: View, from: string): Promise<string> {
    const layers = layersOf(overlay.options)
    return moveHandleDir(this.#stateDir, from, layers, settings.handlesOfItsOwn ? name : undefined)
  }

  /**
   * Makes every change durable and releases every upper, even if one of them cannot be flushed.
   *
   * @throws AggregateError with the errors of all views
   */
  async close(): Promise<void> {
    const results = await Promise.allSettled(this.list().map(closeView))
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    if (failures.length > 0) throw new AggregateError(failures, 'cannot flush and release every view')
  }
}

async function closeView({ overlay }: View): Promise<void> {
  try {
    if (!overlay.readOnly && !overlay.options.volatile) await overlay.sync()
  } finally {
    await overlay.unmount()
  }
}
