import type { IncomingHttpHeaders } from 'node:http'
import { type EntityTag, parseEntityTags } from './etag.ts'
import { parseHttpDate } from './http-date.ts'

/** The state of a resource, against which preconditions are evaluated. */
export interface ResourceState {
  readonly exists: boolean
  /** Undefined for missing resources and collections. */
  readonly etag: string | undefined
  /** Seconds since the epoch. */
  readonly mtimeSec: number | undefined
}

/**
 * Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since in the order of RFC 9110 section 13.2.2.
 *
 * @param reading true for GET and HEAD, which respond with 304 where others respond with 412
 * @returns 412, 304, or undefined to continue
 */
export function evaluatePreconditions(
  headers: IncomingHttpHeaders,
  state: ResourceState,
  reading: boolean,
): 412 | 304 | undefined {
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, state, strongMatch)) return 412
  } else if (isAfter(state.mtimeSec, headers['if-unmodified-since'])) {
    return 412
  }
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, state, weakMatch)) return reading ? 304 : 412
  } else if (reading && isNotAfter(state.mtimeSec, headers['if-modified-since'])) {
    return 304
  }
  return undefined
}

/** Whether any of the four fields is present. */
export function hasPreconditions(headers: IncomingHttpHeaders): boolean {
  return (
    headers['if-match'] !== undefined ||
    headers['if-none-match'] !== undefined ||
    headers['if-unmodified-since'] !== undefined ||
    headers['if-modified-since'] !== undefined
  )
}

/**
 * Whether If-Range allows a Range: its tag matches strongly, or its date equals the modification time and is old
 * enough to be a strong validator (RFC 9110 section 13.1.5).
 */
export function ifRangeHolds(field: string | undefined, etag: string, mtimeSec: number, nowSec: number): boolean {
  if (field === undefined) return true
  const tags = parseEntityTags(field)
  if (tags !== undefined) return tags !== '*' && tags.length === 1 && strongMatch(tags[0], etag)
  return parseHttpDate(field) === mtimeSec && nowSec - mtimeSec >= 60
}

function matches(field: string, state: ResourceState, match: (tag: EntityTag, etag: string) => boolean): boolean {
  const tags = parseEntityTags(field)
  if (tags === '*') return state.exists
  const { etag } = state
  return etag !== undefined && (tags ?? []).some((tag) => match(tag, etag))
}

function strongMatch(tag: EntityTag, etag: string): boolean {
  return !tag.weak && tag.value === etag
}

function weakMatch(tag: EntityTag, etag: string): boolean {
  return tag.value === etag
}

function isAfter(mtimeSec: number | undefined, field: string | undefined): boolean {
  const date = field === undefined ? undefined : parseHttpDate(field)
  return mtimeSec !== undefined && date !== undefined && mtimeSec > date
}

function isNotAfter(mtimeSec: number | undefined, field: string | undefined): boolean {
  const date = field === undefined ? undefined : parseHttpDate(field)
  return mtimeSec !== undefined && date !== undefined && mtimeSec <= date
}
