import type { IncomingMessage } from 'node:http'
import type { PublicNames } from './public-names.ts'

/**
 * Whether a request was made by a page of another origin in somebody's browser. Such a page reaches what its reader reaches, this machine and the network
 * around it included, though it may not read the answers. Browsers tell where a request comes from: in Sec-Fetch-Site (Fetch Metadata) where they
 * trust the address, as they do that of this machine and of TLS; else in Origin. Programs send neither.
 *
 * A link that is followed is the reader's own wish, and not the page's.
 */
export function isFromForeignPage(req: IncomingMessage, names: PublicNames | undefined): boolean {
  const { headers } = req
  const site = headers['sec-fetch-site']
  if (site === 'same-origin' || site === 'none') return false
  if (site !== undefined) return !isFollowedLink(req)
  const { origin } = headers
  return origin !== undefined && !isOwnOrigin(origin, req, names)
}

function isFollowedLink({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
}

function isOwnOrigin(origin: string, req: IncomingMessage, names: PublicNames | undefined): boolean {
  const authority = /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase()
  if (authority === undefined) return false
  return authority === req.headers.host?.toLowerCase() || names?.isOurs(authority, req) === true
}
