import { hostKey } from '../http/authority.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { type DavPath, parsePath } from '../http/path.ts'
import type { DavContext, DavView } from '../state/context.ts'
import { isInScope, usualPath, viewInUse } from '../state/served-view.ts'

/** A path in a view. */
type InView = DavPath & { readonly view: DavView }

/** The target of a URL in a header field: a path in a view, this server outside all views, or another server. */
export type Reference = InView | 'outside' | 'foreign'

const NOWHERE: DavPath = { names: [], trailingSlash: true }
const ABSOLUTE = /^(?:https?:)?\/\/([^/?#]*)(.*)$/is

/**
 * Parses a URL from a client, absolute or a path. The Host field and the names of this server decide whether it is
 * ours; the scheme does not, because it may be that of a proxy. Like a request target it may start with several slashes.
 *
 * @throws DavError 400 the text is not a URL, or `parsePath` refuses its path
 */
export function parseReference(text: string, ctx: DavContext): Reference {
  const path = pathOn(text, ctx)
  return path === 'foreign' ? path : (viewAt(path, ctx) ?? 'outside')
}

/**
 * Like `parseReference`, and if the URL leads to another view of a template, opens it for the rest of the request.
 *
 * @throws DavError as `parseReference` · 403 the client may only read there · OverlayError the view cannot be opened
 */
export async function openReference(text: string, ctx: DavContext): Promise<Reference> {
  const path = pathOn(text, ctx)
  if (path === 'foreign') return path
  const known = viewAt(path, ctx)
  // The view of the request itself may be one in which the client may only read.
  if (known !== undefined && known.view === ctx.view && ctx.readOnly) throw onlyRead()
  return known ?? (await openAt(path, ctx)) ?? 'outside'
}

async function openAt({ names, trailingSlash }: DavPath, ctx: DavContext): Promise<InView | undefined> {
  const [first = '', ...rest] = names
  const template = ctx.services.templates.get(first)
  if (template === undefined || !isInScope(template.name, ctx.caller)) return undefined
  const use = await template.use(rest, ctx)
  if (use === undefined) return undefined
  const view = viewInUse(template, use, rest, ctx.caller)
  ctx.other = { use, view }
  if (use.readOnly) throw onlyRead()
  return { view, names: rest.slice(use.used), trailingSlash }
}

function onlyRead(): DavError {
  return new DavError(403, 'you may only read at the destination')
}

/** The path on this server; `foreign` if the URL is that of another one. @throws DavError 400 */
function pathOn(text: string, ctx: DavContext): DavPath | 'foreign' {
  const [, authority, rest = ''] = ABSOLUTE.exec(text) ?? []
  const ours = authority !== undefined && isOurs(authority, ctx)
  // Two slashes may be followed by a host, or by a carelessly joined path.
  if (!ours && text.startsWith('/')) return usual(text, ctx)
  if (authority === undefined) throw badRequest('the URL is neither absolute nor a path')
  return ours ? usual(rest.startsWith('/') ? rest : `/${rest}`, ctx) : 'foreign'
}

/** The usual path for one in a URL; for a caller that reaches only other paths, one that leads nowhere. @throws DavError 400 */
function usual(text: string, { caller }: DavContext): DavPath {
  return usualPath(parsePath(text), caller) ?? NOWHERE
}

function isOurs(authority: string, { req, services }: DavContext): boolean {
  return hostKey(authority) === hostKey(req.headers.host ?? '') || services.isOurs(authority, req)
}

/**
 * The view that `path` leads to, and the path inside it; undefined if there is no such view. Of the views of templates only those are known here that the
 * request uses already.
 */
function viewAt({ names, trailingSlash }: DavPath, ctx: DavContext): InView | undefined {
  const { views, templates } = ctx.services
  const [first, ...rest] = names
  if (first === undefined) return undefined
  const view = views.get(first)?.seenBy(ctx.caller)
  if (view !== undefined) return { view, names: rest, trailingSlash }
  const way = templates.get(first)?.way(rest, ctx)
  const used = [ctx.view, ctx.other?.view].find((each) => each !== undefined && each.id === way?.id)
  return used && way && { view: used, names: rest.slice(way.used), trailingSlash }
}
