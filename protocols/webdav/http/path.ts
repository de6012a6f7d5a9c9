import type { Name } from '../../../overlay-core/index.ts'
import { badRequest } from './dav-error.ts'

/** A path of a request: its names as bytes, and whether it ended with a slash. */
export interface DavPath {
  readonly names: readonly Name[]
  readonly trailingSlash: boolean
}

const ENCODED_DOTS = /^(?:\.|%(?:25)*2e){1,2}$/i

/** Characters of a segment that are sent as they are; all else, and everything special to XML and HTML, is escaped. */
const PLAIN_SEGMENT = /^[A-Za-z0-9\-._~!$()*+,;=:@]*$/
const PLAIN_BYTE = Array.from({ length: 256 }, (_, byte) => PLAIN_SEGMENT.test(String.fromCharCode(byte)))
const ESCAPED_BYTE = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)

/**
 * Splits the path of a request target into names, undoing percent-encoding exactly once. Empty segments are skipped,
 * a query is ignored.
 *
 * @param target what follows the host: it begins with `/`
 * @throws DavError 400 a raw `#`, a broken escape, an encoded `/` or NUL, or a segment `.` or `..`, encoded or not
 */
export function parsePath(target: string): DavPath {
  if (target.charCodeAt(0) !== 0x2f) throw badRequest('the request target is not a path')
  if (target.includes('#')) throw badRequest('the request target contains a fragment')
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  const names: Name[] = []
  for (const segment of path.split('/')) {
    if (segment === '') continue
    const name = segment.includes('%') ? decodeSegment(segment) : segment
    if (name === '.' || name === '..') throw badRequest('the path contains a dot segment')
    // Whoever encodes dots twice hopes that somebody decodes twice. Other names with a percent sign are names.
    if (name !== segment && ENCODED_DOTS.test(name)) throw badRequest('the path contains a doubly encoded dot segment')
    if (name.includes('\0')) throw badRequest('the path contains a NUL')
    names.push(name)
  }
  return { names, trailingSlash: path.endsWith('/') }
}

/** One segment of a URL as bytes. @throws DavError 400 a broken escape, or one of `/` or NUL */
export function decodeSegment(segment: string): Name {
  let name = ''
  let from = 0
  for (let at = segment.indexOf('%'); at !== -1; at = segment.indexOf('%', from)) {
    const byte = hexDigit(segment.charCodeAt(at + 1)) * 16 + hexDigit(segment.charCodeAt(at + 2))
    if (byte === 0 || byte === 0x2f) throw badRequest('the path contains an encoded slash or NUL')
    name += segment.slice(from, at) + String.fromCharCode(byte)
    from = at + 3
  }
  return name + segment.slice(from)
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  if (letter >= 0x61 && letter <= 0x66) return letter - 0x57
  throw badRequest('the path contains an invalid percent escape')
}

/** A name as one segment of a URL: plain ASCII, safe in XML text and in a quoted HTML attribute. */
export function encodeSegment(name: Name): string {
  if (PLAIN_SEGMENT.test(name)) return name
  let out = ''
  for (let i = 0; i < name.length; i++) {
    const byte = name.charCodeAt(i) & 0xff
    out += PLAIN_BYTE[byte] ? name[i] : ESCAPED_BYTE[byte]
  }
  return out
}

/** The URL path of `names` inside the view whose encoded root is `root` (`/NAME/`), with a slash when a collection. */
export function hrefOf(root: string, names: readonly Name[], collection: boolean): string {
  let href = root
  for (let i = 0; i < names.length; i++) href += i === 0 ? encodeSegment(names[i]) : `/${encodeSegment(names[i])}`
  return collection && names.length > 0 ? `${href}/` : href
}

/** Text as bytes, one code unit per byte: the form in which overlay-core knows names. */
export function nameOfText(text: string): Name {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** A name as text for people: bytes that are not UTF-8 show as U+FFFD. */
export function textOfName(name: Name): string {
  // Most names are ASCII, where bytes and text are the same string.
  return /^[\x20-\x7e]*$/.test(name) ? name : Buffer.from(name, 'latin1').toString('utf8')
}
