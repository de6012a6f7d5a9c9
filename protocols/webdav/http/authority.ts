const HOST_CHARS = "(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
const VALID_HOST = new RegExp(`^(?:${HOST_CHARS}|\\[[0-9A-Fa-f:.]+\\])(?::\\d*)?$`)

/** Whether a Host field is a host with an optional port and nothing else (RFC 9110 section 7.2). It may be empty. */
export function isHostField(field: string): boolean {
  return VALID_HOST.test(field)
}

/**
 * A normalized host and port for comparisons: case, default ports, a final dot, percent-encoding and the
 * notation of an IPv6 address make no difference. User information before `@` is removed.
 */
export function hostKey(authority: string): string {
  const plain = authority.slice(authority.lastIndexOf('@') + 1).toLowerCase()
  if (/[/?#\\\s]/.test(plain)) return plain
  try {
    const { hostname, port } = new URL(`http://${plain}`)
    const host = hostname.replace(/\.$/, '')
    return port === '' || port === '443' ? host : `${host}:${port}`
  } catch {
    return plain
  }
}
