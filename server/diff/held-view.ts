import { isErrno, mount, nearestWord, OptionError, type Overlay } from '../../overlay-core/index.ts'
import type { HeldLayers } from '../registry/snapshots.ts'
import type { TemplateView } from '../registry/template-view.ts'
import type { Templates } from '../registry/templates.ts'
import type { Views } from '../views.ts'

/** The views of a server. */
export interface ServedViews {
  readonly views: Views
  readonly templates: Templates | undefined
}

/** A view that is not closed before `release`. */
export interface HeldView {
  readonly overlay: Overlay
  release(): Promise<void>
}

/**
 * Opens a view or a snapshot (`TEMPLATE/NAME@SNAPSHOT`) by its name, and keeps it open.
 *
 * @throws OptionError naming `option` or `view`: there is none of this name, or it cannot be opened
 */
export async function holdView(served: ServedViews, path: string, option: string): Promise<HeldView> {
  const at = path.indexOf('/')
  if (at < 0) return sharedView(served, path, option)
  const template = served.templates?.get(path.slice(0, at))
  const name = path.slice(at + 1)
  const found = template?.byName(name)
  if (found !== undefined) return await inUse(found, option)
  // Names of users may contain an @, those of snapshots do not.
  const end = name.lastIndexOf('@')
  const view = end < 0 ? undefined : template?.byName(name.slice(0, end))
  if (template !== undefined && view !== undefined) {
    return await mountHeld(await template.snapshots.hold(view, name.slice(end + 1)))
  }
  const known = template === undefined ? [] : [...template.list()].map((each) => each.path)
  const near = nearestWord(path, known)
  const mend = near === undefined ? 'see overlayd view list' : `did you mean ${near}?`
  throw new OptionError(option, `there is no view ${path}; ${mend}`)
}

/** Mounts layers, which are held until its `release`. @throws OptionError */
async function mountHeld(held: HeldLayers): Promise<HeldView> {
  const end = () => held[Symbol.dispose]()
  try {
    const overlay = await mount(held.options)
    return { overlay, release: () => overlay.unmount().finally(end) }
  } catch (error) {
    end()
    throw error
  }
}

function sharedView({ views, templates }: ServedViews, path: string, option: string): HeldView {
  if (templates?.get(path) !== undefined)
    throw new OptionError(
      option,
      `${path} has many views; name one of them as ${path}/NAME, see overlayd view list ${path}`,
    )
  const shared = views.get(path)
  if (shared !== undefined) return { overlay: shared.overlay, release: async () => undefined }
  const names = views.list().map(({ name }) => name)
  const near = nearestWord(path, names)
  const mend = near === undefined ? 'see overlayd status' : `did you mean ${near}?`
  throw new OptionError(option, `there is no view ${JSON.stringify(path)}; ${mend}`)
}

async function inUse(view: TemplateView, option: string): Promise<HeldView> {
  try {
    return { overlay: await view.use(), release: async () => view.release() }
  } catch (error) {
    if (!isErrno(error)) throw error
    throw new OptionError(option, `${view.path} cannot be opened: ${view.failure ?? error.message}`)
  }
}
