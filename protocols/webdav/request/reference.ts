import type { IncomingMessage } from 'node:http'
import { hostKey } from '../http/authority.ts'
import { badRequest } from '../http/dav-error.ts'
import { type DavPath, parsePath } from '../http/path.ts'
import type { DavServices, DavView } from '../state/context.ts'

/** The target of a URL in a header field: a path in a view, this server outside all views, or another server. */
export type Reference = (DavPath & { readonly view: DavView }) | 'outside' | 'foreign'

const ABSOLUTE = /^(?:https?:)?\/\/([^/?#]*)(.*)$/is

/**
 * Parses a URL from a client, absolute or a path. The Host field and the names of this server decide whether it is
 * ours; the scheme does not, because it may be that of a proxy. Like a request target it may start with several slashes.
 *
 * @throws DavError 400 the text is not a URL, or `parsePath` refuses its path
 */
export function parseReference(text: string, req: IncomingMessage, services: DavServices): Reference {
  const [, authority, rest = ''] = ABSOLUTE.exec(text) ?? []
  const ours = authority !== undefined && isOurs(authority, req, services)
  // Two slashes may be followed by a host, or by a carelessly joined path.
  if (!ours && text.startsWith('/')) return splitView(parsePath(text), services) ?? 'outside'
  if (authority === undefined) throw badRequest('the URL is neither absolute nor a path')
  if (!ours) return 'foreign'
  return splitView(parsePath(rest.startsWith('/') ? rest : `/${rest}`), services) ?? 'outside'
}

function isOurs(authority: string, req: IncomingMessage, services: DavServices): boolean {
  return hostKey(authority) === hostKey(req.headers.host ?? '') || services.isOurs(authority, req)
}

/** The view named by the first name of `path`, and the path inside it; undefined if there is no such view. */
export function splitView(path: DavPath, services: DavServices): (DavPath & { readonly view: DavView }) | undefined {
  const view = path.names.length === 0 ? undefined : services.views.get(path.names[0])
  return view && { view, names: path.names.slice(1), trailingSlash: path.trailingSlash }
}
