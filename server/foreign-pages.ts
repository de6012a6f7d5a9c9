import type { IncomingMessage } from 'node:http'
import type { PublicNames } from './public-names.ts'

/**
 * Whether a request was made by a page of another origin in a browser. Such a page can reach whatever its reader can reach, including this machine and
 * its network, although it may not read the responses. Browsers state the origin of a request in Sec-Fetch-Site (Fetch Metadata) if they
 * trust the address (loopback or TLS), and otherwise in Origin. Other programs send neither.
 *
 * Following a link is the reader's own action, so it is allowed.
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
