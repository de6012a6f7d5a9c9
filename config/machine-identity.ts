/** A MAC address of Ethernet as six pairs of lower-case digits with colons; undefined if it is none. Takes `aa:bb:…`, `aa-bb-…` and `aabb…`. */
export function readMac(text: string): string | undefined {
  const [, first, sign] = /^([0-9a-f]{2})([:-]?)/i.exec(text) ?? []
  if (first === undefined) return undefined
  const pairs = text.toLowerCase().split(sign || /(?=(?:..)+$)/)
  return pairs.length === 6 && pairs.every((pair) => /^[0-9a-f]{2}$/.test(pair)) ? pairs.join(':') : undefined
}

/** A UUID in lower case; undefined if it is none. */
export function readUuid(text: string): string | undefined {
  const uuid = text.toLowerCase()
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid) ? uuid : undefined
}

/** A serial number; undefined if it has signs that no vendor uses, or more than 64. */
export function readSerial(text: string): string | undefined {
  const serial = text.trim()
  return /^[A-Za-z0-9][A-Za-z0-9 ._:+/-]{0,63}$/.test(serial) ? serial : undefined
}

/** The error in the name of a machine, which is also its host name (RFC 1123 section 2.1); undefined if it is valid. */
export function machineNameError(name: string): string | undefined {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return undefined
  return `${JSON.stringify(name.slice(0, 80))} cannot be the name of a machine; use up to 63 lower-case letters, digits and -, not at the ends`
}

/**
 * The error in a word of the kernel's command line as a boot script can carry it; undefined if it is valid. iPXE has no way to escape its variables,
 * and older versions no quotes.
 */
export function argumentError(word: string): string | undefined {
  const shown = JSON.stringify(word.slice(0, 80))
  if (!/^[!-~]{1,1000}$/.test(word))
    return `${shown} is not one word of ASCII; write each argument as an item of its own`
  if (/[\\"'`]|\$\{|^#|^(\|\||&&|;)$/.test(word))
    return `${shown} has signs that boot scripts cannot carry; leave out quotes, backslashes, \${ and a # at the start`
  return undefined
}
