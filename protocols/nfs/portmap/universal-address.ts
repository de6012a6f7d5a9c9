/** Formats a transport address: the address, a dot, and the two bytes of the port (RFC 5665 section 5.2.3). */
export function universalAddress(address: string, port: number): string {
  return `${address}.${port >> 8}.${port & 0xff}`
}

/** Parses the address and port of a universal address; undefined if invalid. */
export function parseUniversalAddress(text: string): { address: string; port: number } | undefined {
  const match = /^(.+)\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  const [high, low] = [Number(match?.[2]), Number(match?.[3])]
  return match === null || high > 255 || low > 255 ? undefined : { address: match[1], port: high * 256 + low }
}
