import { HTTPError } from './vocabulary.ts'

/** What a DavError carries beside its status. */
export interface DavErrorDetails {
  /** The content of a `DAV:error` element: the precondition that failed (RFC 4918 section 16), as XML. */
  readonly condition?: string
  /** Further header fields, as a flat list of names and values. */
  readonly headers?: readonly string[]
}

/**
 * An answer that is not a success, decided by this adapter: `HTTPCode` is its status. What overlay-core refuses is an
 * OverlayError instead. No stack is captured: it is an answer, not a fault.
 */
export class DavError extends HTTPError {
  readonly condition: string | undefined
  readonly headers: readonly string[]

  constructor(status: number, message: string, details: DavErrorDetails = {}) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(status)
    Error.stackTraceLimit = limit
    this.name = 'DavError'
    this.message = message
    this.condition = details.condition
    this.headers = details.headers ?? []
  }
}

/** A request that breaks the grammar of HTTP or WebDAV: status 400. */
export function badRequest(message: string): DavError {
  return new DavError(400, message)
}
