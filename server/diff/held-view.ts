import { isErrno, nearestWord, OptionError, type Overlay } from '../../overlay-core/index.ts'
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
  release(): void
}

/** Opens a view by its name, and keeps it open. @throws OptionError naming `option`: there is none of this name, or it cannot be opened */
export async function holdView({ views, templates }: ServedViews, path: string, option: string): Promise<HeldView> {
  const at = path.indexOf('/')
  const template = templates?.get(at < 0 ? path : path.slice(0, at))
  if (at < 0) {
    if (template !== undefined)
      throw new OptionError(
        option,
        `${path} has many views; name one of them as ${path}/NAME, see overlayd view list ${path}`,
      )
    const shared = views.get(path)
    if (shared !== undefined) return { overlay: shared.overlay, release: () => undefined }
    const near = nearestWord(
      path,
      views.list().map(({ name }) => name),
    )
    throw new OptionError(
      option,
      `there is no view ${JSON.stringify(path)}; ${near === undefined ? 'see overlayd status' : `did you mean ${near}?`}`,
    )
  }
  const found = template?.byName(path.slice(at + 1))
  if (found === undefined) {
    const known = template === undefined ? [] : [...template.list()].map((view) => view.path)
    const near = nearestWord(path, known)
    throw new OptionError(
      option,
      `there is no view ${path}; ${near === undefined ? 'see overlayd view list' : `did you mean ${near}?`}`,
    )
  }
  try {
    return { overlay: await found.use(), release: () => found.release() }
  } catch (error) {
    if (!isErrno(error)) throw error
    throw new OptionError(option, `${path} cannot be opened: ${found.failure ?? error.message}`)
  }
}
