import { badRequest } from './dav-error.ts'
import { childElements, type XmlElement } from './xml.ts'

/** Parses DAV:limit (RFC 5323 section 5.17); no limit if missing. @throws DavError 400 */
export function limitOf(limit: XmlElement | undefined): number {
  if (limit === undefined) return Number.POSITIVE_INFINITY
  const text = textIn(childElements(limit).find(({ uri, local }) => uri === 'DAV:' && local === 'nresults'))
  if (!/^[1-9]\d{0,8}$/.test(text)) throw badRequest('DAV:nresults is not a positive number')
  return Number(text)
}

/** The trimmed text of an element; empty if there is no element. */
export function textIn(element: XmlElement | undefined): string {
  return (element?.children ?? [])
    .filter((child) => typeof child === 'string')
    .join('')
    .trim()
}
