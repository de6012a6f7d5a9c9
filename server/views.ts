import { inOverlayOptions, type ViewSettings } from '../config/index.ts'
import { isErrno, type MountOptions, mount, OptionError, type Overlay, parseOptions } from '../overlay-core/index.ts'
import { makeHandleDir, moveHandleDir } from './state-dir.ts'

/** An overlay and the name that clients use for it. */
export interface View {
  readonly name: string
  readonly overlay: Overlay
  readonly settings: ViewSettings
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

/** All views of a server by name. Owns their overlays. */
export class Views {
  /** Differences from the requested settings, one sentence each. */
  readonly notes: readonly string[]
  readonly #views: ReadonlyMap<string, View>
  readonly #stateDir: string
  readonly #checkLayers: CheckLayers
  /** The directories in which overlays without an upper store their file handles, by view. */
  readonly #handleDirs: Map<string, string>

  private constructor(
    views: ReadonlyMap<string, View>,
    stateDir: string,
    { handleDirs, notes }: { handleDirs: Map<string, string>; notes: readonly string[] },
    checkLayers: CheckLayers,
  ) {
    this.#views = views
    this.#stateDir = stateDir
    this.#checkLayers = checkLayers
    this.#handleDirs = handleDirs
    this.notes = notes
  }

  /**
   * Mounts every overlay; if one fails, those before it are released again. `checkLayers` is called before a remount changes layers.
   *
   * @throws OptionError a directory of one of them is missing, unreadable, nested or busy
   */
  static async open(
    plans: readonly ResolvedViewSettings[],
    stateDir: string,
    checkLayers: CheckLayers = async () => undefined,
  ): Promise<Views> {
    const opened = new Map<string, View>()
    const handleDirs = new Map<string, string>()
    const notes: string[] = []
    try {
      for (const { settings, options } of plans) {
        const { name } = settings
        const { overlay, handleDir, note } = await mountView(options, stateDir)
        if (note !== undefined) notes.push(note)
        opened.set(name, { name, overlay, settings })
        if (handleDir !== undefined) handleDirs.set(name, handleDir)
      }
    } catch (error) {
      await Promise.all([...opened.values()].map((view) => view.overlay.unmount()))
      throw error instanceof OptionError ? inOverlayOptions(error) : error
    }
    return new Views(opened, stateDir, { handleDirs, notes }, checkLayers)
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
    const view = this.#views.get(name)
    if (view === undefined)
      throw new OptionError('NAME', `there is no overlay ${JSON.stringify(name)}; see overlayd status for the names`)
    const { overlay } = view
    const privileged = process.geteuid?.() === 0
    const next = parseOptions(options, { cwd, privileged }, overlay.options)
    await this.#checkLayers(next)
    await overlay.remount(next)
    const handleDir = this.#handleDirs.get(name)
    if (handleDir === undefined) return
    this.#handleDirs.set(name, await moveHandleDir(this.#stateDir, handleDir, layersOf(overlay.options)))
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

/** A mounted view, the directory of its file handles if it has no workdir, and a note if it differs from the requested settings. */
interface Mounted {
  readonly overlay: Overlay
  readonly handleDir: string | undefined
  readonly note?: string
}

/**
 * Mounts. If the file system of the upper accepts no changes, because it is full or read-only, the overlay is served read-only, as
 * with `ro`.
 */
async function mountView(options: MountOptions, stateDir: string): Promise<Mounted> {
  const { upperdir, lowerdir } = options
  if (upperdir === undefined) return await mountWithoutUpper(options, stateDir)
  try {
    return { overlay: await mount(options), handleDir: undefined }
  } catch (error) {
    if (!isErrno(error, 'EROFS', 'ENOSPC', 'EDQUOT')) throw error
    const below = { ...options, lowerdir: [upperdir, ...lowerdir], upperdir: undefined, workdir: undefined }
    const mounted = await mountWithoutUpper({ ...below, readOnly: true }, stateDir)
    const why = error.code === 'EROFS' ? 'is read-only' : `is full (${error.code})`
    return {
      ...mounted,
      note: `the file system of ${upperdir} ${why}, so the overlay is read-only; fix it and restart`,
    }
  }
}

/** Mounts an overlay without an upper. It has no workdir for its file handles, so they are stored in the state directory if possible. */
async function mountWithoutUpper(options: MountOptions, stateDir: string): Promise<Mounted> {
  const handles = await makeHandleDir(stateDir, layersOf(options))
  if (handles === undefined) return { overlay: await mount(options), handleDir: undefined }
  try {
    return { overlay: await mount(options, { handleDirectory: handles.path }), handleDir: handles.path }
  } catch (error) {
    await handles.undo()
    throw error
  }
}

function layersOf({ lowerdir, datadir }: MountOptions): string[] {
  return [...lowerdir, '', ...datadir]
}

async function closeView({ overlay }: View): Promise<void> {
  try {
    if (!overlay.readOnly && !overlay.options.volatile) await overlay.sync()
  } finally {
    await overlay.unmount()
  }
}
