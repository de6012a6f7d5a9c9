import { badRequest } from './dav-error.ts'
import { parseHttpDate } from './http-date.ts'

/** The depth of a request: the resource, its members too, or everything below. */
export type Depth = 0 | 1 | 'infinity'

/** The Depth field (RFC 4918 section 10.2), or `fallback` when absent. @throws DavError 400 */
export function parseDepth(field: string | string[] | undefined, fallback: Depth): Depth {
  if (field === undefined) return fallback
  switch (String(field).trim().toLowerCase()) {
    case '0':
      return 0
    case '1':
      return 1
    case 'infinity':
      return 'infinity'
    default:
      throw badRequest('the Depth field is not 0, 1 or infinity')
  }
}

/** The Overwrite field (RFC 4918 section 10.6): true unless `F`. @throws DavError 400 */
export function parseOverwrite(field: string | string[] | undefined): boolean {
  if (field === undefined) return true
  switch (String(field).trim().toUpperCase()) {
    case 'T':
      return true
    case 'F':
      return false
    default:
      throw badRequest('the Overwrite field is not T or F')
  }
}

/**
 * The lifetime of a lock in seconds: the first valid choice of the Timeout field (RFC 4918 section 10.7), limited to 1
 * to `maxSeconds`; `maxSeconds` if there is none.
 */
export function parseTimeout(field: string | string[] | undefined, maxSeconds: number): number {
  for (const choice of String(field ?? '').split(',')) {
    const text = choice.trim()
    if (/^infinite$/i.test(text)) return maxSeconds
    const seconds = /^second-(\d{1,10})$/i.exec(text)
    if (seconds !== null) return Math.min(Math.max(Number(seconds[1]), 1), maxSeconds)
  }
  return maxSeconds
}

/** The token of a Lock-Token field (RFC 4918 section 10.5). Some clients send it without angle brackets. @throws DavError 400 missing or malformed */
export function parseLockToken(field: string | string[] | undefined): string {
  const token = readLockToken(field)
  if (token === undefined) throw badRequest('the Lock-Token field is missing or malformed')
  return token
}

/** The token of a Lock-Token field; undefined if missing or malformed. */
export function readLockToken(field: string | string[] | undefined): string | undefined {
  const found = /^\s*(?:<([^<>\s]+)>|([^<>\s"(),]+))\s*$/.exec(String(field ?? ''))
  return found?.[1] ?? found?.[2]
}

/**
 * The modification time in X-OC-Mtime (seconds since the epoch, with an optional fraction), which ownCloud clients
 * and rclone send. Undefined if missing. @throws DavError 400
 */
export function parseOcMtime(field: string | string[] | undefined): { sec: number; nsec: number } | undefined {
  if (field === undefined) return undefined
  const time = parseSeconds(String(field).trim())
  if (time === undefined) throw badRequest('the X-OC-Mtime field is not a number of seconds')
  return time
}

/** Parses seconds since the epoch with an optional fraction; undefined if it is something else. The fraction of a negative number counts downward, as in any number. */
export function parseSeconds(text: string): { sec: number; nsec: number } | undefined {
  const [, sign, digits, fraction = ''] = /^(-?)(\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec(text) ?? []
  if (digits === undefined) return undefined
  const nsec = Number(fraction.padEnd(9, '0'))
  if (sign === '') return { sec: Number(digits), nsec }
  return nsec === 0 ? { sec: 0 - Number(digits), nsec } : { sec: -1 - Number(digits), nsec: 1_000_000_000 - nsec }
}

/**
 * Parses a time that a client sets by a property: an HTTP date, RFC 3339, or seconds since the epoch with an optional fraction. Undefined if it is none of
 * them.
 */
export function parseTime(text: string): { sec: number; nsec: number } | undefined {
  const seconds = parseSeconds(text)
  if (seconds !== undefined) return seconds
  const sec = parseHttpDate(text)
  if (sec !== undefined) return { sec, nsec: 0 }
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/i.test(text)) return undefined
  const ms = Date.parse(text.replace(/\.\d+/, ''))
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? ''
  return Number.isNaN(ms) ? undefined : { sec: ms / 1000, nsec: Number(fraction.padEnd(9, '0')) }
}

/** The modification time in the Last-Modified field of an upload. Undefined if missing or not a date. */
export function parseLastModified(field: string | undefined): { sec: number; nsec: number } | undefined {
  const sec = field === undefined ? undefined : parseHttpDate(field)
  return sec === undefined ? undefined : { sec, nsec: 0 }
}
