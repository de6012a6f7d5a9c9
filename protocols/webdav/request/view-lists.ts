import type { Name } from '../../../overlay-core/index.ts'
import { decodeSegment } from '../http/path.ts'
import type { DavContext, DavView } from '../state/context.ts'

/** The names, below the requested list of views, of further lists and of views that are not opened for it. */
export function viewLists(ctx: DavContext): readonly string[] {
  const { address, template, services } = ctx
  if (template !== undefined) return template.list(address) ?? []
  const seen = [...services.templates.values()].filter(
    (each) => each.way([], address) !== undefined || each.list(address) !== undefined,
  )
  return seen.map(({ name }) => name)
}

/** The encoded path above the root of a view, and the last name of its path. */
export function placeOfRoot({ root }: DavView): { base: string; name: Name } {
  const at = root.lastIndexOf('/', root.length - 2) + 1
  return { base: root.slice(0, at), name: decodeSegment(root.slice(at, -1)) }
}
