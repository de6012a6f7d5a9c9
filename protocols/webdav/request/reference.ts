import { hostKey } from '../http/authority.ts'
import { badRequest } from '../http/dav-error.ts'
import { type DavPath, parsePath } from '../http/path.ts'
import type { DavContext, DavView } from '../state/context.ts'

/** The target of a URL in a header field: a path in a view, this server outside all views, or another server. */
export type Reference = (DavPath & { readonly view: DavView }) | 'outside' | 'foreign'

const ABSOLUTE = /^(?:https?:)?\/\/([^/?#]*)(.*)$/is

/**
 * Parses a URL from a client, absolute or a path. The Host field and the names of this server decide whether it is
 * ours; the scheme does not, because it may be that of a proxy. Like a request target it may start with several slashes.
 *
 * @throws DavError 400 the text is not a URL, or `parsePath` refuses its path
 */
export function parseReference(text: string, ctx: DavContext): Reference {
  const [, authority, rest = ''] = ABSOLUTE.exec(text) ?? []
  const ours = authority !== undefined && isOurs(authority, ctx)
  // Two slashes may be followed by a host, or by a carelessly joined path.
  if (!ours && text.startsWith('/')) return viewAt(parsePath(text), ctx) ?? 'outside'
  if (authority === undefined) throw badRequest('the URL is neither absolute nor a path')
  if (!ours) return 'foreign'
  return viewAt(parsePath(rest.startsWith('/') ? rest : `/${rest}`), ctx) ?? 'outside'
}

function isOurs(authority: string, { req, services }: DavContext): boolean {
  return hostKey(authority) === hostKey(req.headers.host ?? '') || services.isOurs(authority, req)
}

/**
 * The view that `path` leads to, and the path inside it; undefined if there is no such view. Of the views of templates only the one of the request is
 * known here: a request never reaches two of them.
 */
function viewAt(
  { names, trailingSlash }: DavPath,
  ctx: DavContext,
): (DavPath & { readonly view: DavView }) | undefined {
  const { views, templates } = ctx.services
  const [first, ...rest] = names
  if (first === undefined) return undefined
  const view = views.get(first)?.seenBy(ctx.caller)
  if (view !== undefined) return { view, names: rest, trailingSlash }
  const way = templates.get(first)?.way(rest, ctx)
  if (way === undefined || ctx.view === undefined || way.id !== ctx.view.id) return undefined
  return { view: ctx.view, names: rest.slice(way.used), trailingSlash }
}
