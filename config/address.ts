import { isIP } from 'node:net'
import { OptionError } from '../overlay-core/index.ts'
import type { Address } from './settings.ts'

/**
 * Reads `HOST:PORT`, `[IPV6]:PORT` or `off` (undefined). `localhost` means 127.0.0.1, `*` every IPv4 address.
 *
 * @throws OptionError anything else
 */
export function parseAddress(option: string, text: string, given: boolean): Address | undefined {
  if (text === 'off') return undefined
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  if (match === null || host === '' || (match[1] !== undefined && isIP(host) !== 6)) {
    throw new OptionError(option, `${JSON.stringify(text)} is not HOST:PORT; use 127.0.0.1:8080, [::1]:8080 or off`)
  }
  if (port > 65_535) throw new OptionError(option, `port ${port} is above 65535; use a lower one, or 0 for a free port`)
  if (!/^[A-Za-z0-9._:%*-]+$/.test(host))
    throw new OptionError(option, `${JSON.stringify(host)} is not a host name; use a name or an IP address`)
  return { host: host === 'localhost' ? '127.0.0.1' : host === '*' ? '0.0.0.0' : host, port, given }
}

/** Whether `host` is an address that only this machine reaches. A name other than localhost is not. */
export function isLoopback(host: string): boolean {
  return (isIP(host) === 4 && host.startsWith('127.')) || host === '::1' || /^::ffff:127\./i.test(host)
}

/** `host:port` for a URL: an IPv6 address gets its brackets. */
export function formatAddress(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}
