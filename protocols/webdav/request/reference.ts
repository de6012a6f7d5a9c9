import type { IncomingMessage } from 'node:http'
import { badRequest } from '../http/dav-error.ts'
import { type DavPath, parsePath } from '../http/path.ts'
import type { DavServices, ServedView } from '../state/context.ts'

/** What a URL in a header field points at: a place in a view, this server but no view, or another server. */
export type Reference = (DavPath & { readonly view: ServedView }) | 'outside' | 'foreign'

const ABSOLUTE = /^(https?):\/\/([^/?#]*)(.*)$/is

/**
 * Reads a URL of a Destination or If field: absolute, or a path. Whether it is ours is told by the Host field alone, as the scheme
 * and port in it may be those of a proxy in front.
 *
 * @throws DavError 400 it is no URL, or its path is refused by `parsePath`
 */
export function parseReference(text: string, req: IncomingMessage, services: DavServices): Reference {
  let target = text
  if (!text.startsWith('/') || text.startsWith('//')) {
    const found = ABSOLUTE.exec(text)
    if (found === null) throw badRequest('a URL is neither absolute nor a path')
    const authority = found[2].slice(found[2].lastIndexOf('@') + 1)
    if (hostKey(authority) !== hostKey(req.headers.host ?? '')) return 'foreign'
    target = found[3].startsWith('/') ? found[3] : `/${found[3]}`
  }
  return splitView(parsePath(target), services) ?? 'outside'
}

/** The view that the first name of `path` calls for, and the path inside it; undefined when there is no such view. */
export function splitView(path: DavPath, services: DavServices): (DavPath & { readonly view: ServedView }) | undefined {
  const view = path.names.length === 0 ? undefined : services.views.get(path.names[0])
  return view && { view, names: path.names.slice(1), trailingSlash: path.trailingSlash }
}

function hostKey(authority: string): string {
  return authority.toLowerCase().replace(/:(?:80|443)?$/, '')
}
