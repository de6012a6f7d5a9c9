import { HTTPError } from './vocabulary.ts'

/** The details of a DavError in addition to its status. */
export interface DavErrorDetails {
  /** The content of a `DAV:error` element: the precondition that failed (RFC 4918 section 16), as XML. */
  readonly condition?: string
  /** Additional header fields, as a flat list of names and values. */
  readonly headers?: readonly string[]
}

/**
 * An error response chosen by this adapter, with the status `HTTPCode`. Errors of overlay-core are
 * OverlayErrors instead. No stack is captured, because it is a response and not a fault.
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

/** The error for a request that violates the syntax of HTTP or WebDAV: status 400. */
export function badRequest(message: string): DavError {
  return new DavError(400, message)
}
