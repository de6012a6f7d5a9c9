import type { IncomingMessage } from 'node:http'
import { hostKey } from '../http/authority.ts'
import { badRequest } from '../http/dav-error.ts'
import { type DavPath, parsePath } from '../http/path.ts'
import type { DavServices, DavView } from '../state/context.ts'

/** What a URL in a header field points at: a place in a view, this server but no view, or another server. */
export type Reference = (DavPath & { readonly view: DavView }) | 'outside' | 'foreign'

const ABSOLUTE = /^(?:https?:)?\/\/([^/?#]*)(.*)$/is

/**
 * Reads a URL that a client sends: absolute, or a path. Whether it is ours is told by the Host field and by the names that this server is known
 * under; not by the scheme, as that may be the one of a proxy in front. Like a request target it may begin with several slashes.
 *
 * @throws DavError 400 it is no URL, or its path is refused by `parsePath`
 */
export function parseReference(text: string, req: IncomingMessage, services: DavServices): Reference {
  const [, authority, rest = ''] = ABSOLUTE.exec(text) ?? []
  const ours = authority !== undefined && isOurs(authority, req, services)
  // After two slashes a host may follow, or a path that somebody put together carelessly.
  if (!ours && text.startsWith('/')) return splitView(parsePath(text), services) ?? 'outside'
  if (authority === undefined) throw badRequest('the URL is neither absolute nor a path')
  if (!ours) return 'foreign'
  return splitView(parsePath(rest.startsWith('/') ? rest : `/${rest}`), services) ?? 'outside'
}

function isOurs(authority: string, req: IncomingMessage, services: DavServices): boolean {
  return hostKey(authority) === hostKey(req.headers.host ?? '') || services.isOurs(authority, req)
}

/** The view that the first name of `path` calls for, and the path inside it; undefined when there is no such view. */
export function splitView(path: DavPath, services: DavServices): (DavPath & { readonly view: DavView }) | undefined {
  const view = path.names.length === 0 ? undefined : services.views.get(path.names[0])
  return view && { view, names: path.names.slice(1), trailingSlash: path.trailingSlash }
}
