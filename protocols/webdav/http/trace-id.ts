/** `traceparent` of version 00, or of a later one, which may go on after the flags. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?$/

/**
 * The trace to which a request belongs, 32 hexadecimal digits: that of its header field `traceparent`, so that its lines in the log are found by it, or undefined if
 * that is missing or invalid.
 *
 * @see W3C Trace Context, section 3.2
 */
export function traceIdOf(traceparent: string | string[] | undefined): string | undefined {
  if (typeof traceparent !== 'string') return undefined
  const [, version, id, more] = TRACEPARENT.exec(traceparent) ?? []
  return version === '00' && more !== undefined ? undefined : id
}
