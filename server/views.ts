import { inOverlayOptions, type ViewSettings } from '../config/index.ts'
import { type MountOptions, mount, OptionError, type Overlay } from '../overlay-core/index.ts'
import { makeHandleDir } from './state-dir.ts'

/** One overlay under the name that clients know it by. */
export interface View {
  readonly name: string
  readonly overlay: Overlay
  readonly settings: ViewSettings
  readonly options: MountOptions
}

/** A view to open: its settings with the mount options decided. */
export interface ViewPlan {
  readonly settings: ViewSettings
  readonly options: MountOptions
}

/** All views of a server: the one owner of its overlays, by name. */
export class Views {
  readonly #views: ReadonlyMap<string, View>

  private constructor(views: ReadonlyMap<string, View>) {
    this.#views = views
  }

  /**
   * Mounts every overlay of `plans`; when one fails those before it are released again.
   *
   * @throws OptionError a directory of one of them is missing, unreadable, nested or busy
   */
  static async open(plans: readonly ViewPlan[], stateDir: string): Promise<Views> {
    const opened = new Map<string, View>()
    try {
      for (const { settings, options } of plans) {
        opened.set(settings.name, {
          name: settings.name,
          overlay: await mountView(options, stateDir),
          settings,
          options,
        })
      }
    } catch (error) {
      await Promise.all([...opened.values()].map((view) => view.overlay.unmount()))
      throw error instanceof OptionError ? inOverlayOptions(error) : error
    }
    return new Views(opened)
  }

  get(name: string): View | undefined {
    return this.#views.get(name)
  }

  list(): readonly View[] {
    return [...this.#views.values()]
  }

  /**
   * Makes every change durable and releases every upper. All are released even when one cannot be flushed.
   *
   * @throws AggregateError of what went wrong, by view
   */
  async close(): Promise<void> {
    const results = await Promise.allSettled(this.list().map(closeView))
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    if (failures.length > 0) throw new AggregateError(failures, 'not every view could be flushed and released')
  }
}

/** Mounts; an overlay without upper has no workdir to remember its file handles in, so it gets a place in the state directory. */
async function mountView(options: MountOptions, stateDir: string): Promise<Overlay> {
  if (options.upperdir !== undefined) return mount(options)
  const handles = await makeHandleDir(stateDir, [...options.lowerdir, '', ...options.datadir])
  try {
    return await mount(options, { handleDirectory: handles.path })
  } catch (error) {
    await handles.undo()
    throw error
  }
}

async function closeView({ overlay, options }: View): Promise<void> {
  try {
    if (!overlay.readOnly && !options.volatile) await overlay.sync()
  } finally {
    await overlay.unmount()
  }
}
