import type { Name } from '../../../overlay-core/index.ts'
import { decodeSegment } from '../http/path.ts'
import type { DavContext, DavView } from '../state/context.ts'
import { isInScope } from '../state/served-view.ts'

/** The names, below the requested list of views, of further lists and of views that are not opened for it. */
export function viewLists(ctx: DavContext): readonly string[] {
  const { template, services } = ctx
  if (template !== undefined) return template.list(ctx) ?? []
  const seen = [...services.templates.values()].filter(
    (each) => isInScope(each.name, ctx.caller) && (each.way([], ctx) !== undefined || each.list(ctx) !== undefined),
  )
  return seen.map(({ name }) => name)
}

/** The views that all clients share, as the caller sees them. */
export function sharedViews({ services, caller }: DavContext): readonly DavView[] {
  return [...services.views.values()].flatMap((view) => view.seenBy(caller) ?? [])
}

/** The encoded path above the root of a view, and the last name of its path. */
export function placeOfRoot({ root }: DavView): { base: string; name: Name } {
  const at = root.lastIndexOf('/', root.length - 2) + 1
  return { base: root.slice(0, at), name: decodeSegment(root.slice(at, -1)) }
}
