import type { Name } from '../../../overlay-core/index.ts'
import { badRequest } from './dav-error.ts'

/** The path of a request: its names as bytes, and whether it ends with a slash. */
export interface DavPath {
  readonly names: readonly Name[]
  readonly trailingSlash: boolean
}

const ENCODED_DOTS = /^(?:\.|%(?:25)*2e){1,2}$/i

/** Segments that need no escaping. All other characters, including those special to XML and HTML, are escaped. */
const PLAIN_SEGMENT = /^[A-Za-z0-9\-._~!$()*+,;=:@]*$/
const PLAIN_BYTE = Array.from({ length: 256 }, (_, byte) => PLAIN_SEGMENT.test(String.fromCharCode(byte)))
const ESCAPED_BYTE = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)

/**
 * Splits the path of a request target into names and percent-decodes them exactly once. Empty segments are skipped;
 * a query is ignored.
 *
 * @param target the part after the host, starting with `/`
 * @throws DavError 400 a raw `#`, an invalid escape, an encoded `/` or NUL, or a segment `.` or `..`, encoded or not
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
    // Doubly encoded dots are an attack on software that decodes twice. Other names with a percent sign are ordinary.
    if (name !== segment && ENCODED_DOTS.test(name)) throw badRequest('the path contains a doubly encoded dot segment')
    if (name.includes('\0')) throw badRequest('the path contains a NUL')
    names.push(name)
  }
  return { names, trailingSlash: path.endsWith('/') }
}

/** Decodes a segment of a URL to bytes. @throws DavError 400 an invalid escape, or an encoded `/` or NUL */
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

/** Encodes a name as a segment of a URL: plain ASCII that is safe in XML text and in a quoted HTML attribute. */
export function encodeSegment(name: Name): string {
  if (PLAIN_SEGMENT.test(name)) return name
  let out = ''
  for (let i = 0; i < name.length; i++) {
    const byte = name.charCodeAt(i) & 0xff
    out += PLAIN_BYTE[byte] ? name[i] : ESCAPED_BYTE[byte]
  }
  return out
}

/** The URL path of `names` in the view with the encoded root `root` (`/NAME/`), with a final slash for a collection. */
export function hrefOf(root: string, names: readonly Name[], collection: boolean): string {
  let href = root
  for (let i = 0; i < names.length; i++) href += i === 0 ? encodeSegment(names[i]) : `/${encodeSegment(names[i])}`
  return collection && names.length > 0 ? `${href}/` : href
}

/** Converts text to bytes, one code unit per byte, as overlay-core represents names. */
export function nameOfText(text: string): Name {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** Converts a name to text for people: bytes that are not UTF-8 become U+FFFD. */
export function textOfName(name: Name): string {
  // Most names are ASCII, for which bytes and text are the same string.
  return /^[\x20-\x7e]*$/.test(name) ? name : Buffer.from(name, 'latin1').toString('utf8')
}
