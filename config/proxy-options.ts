import { isIP } from 'node:net'
import { OptionError } from '../overlay-core/index.ts'

/** The addresses that share the first `bits` bits of `address`. */
export interface Network {
  readonly address: string
  readonly bits: number
  readonly family: 'ipv4' | 'ipv6'
}

/**
 * Parses a public URL of the server and returns its origin, such as `https://files.example.org`, with or without a port. The only path allowed
 * is that of the view, because all paths that the server returns start with the view.
 *
 * @throws OptionError the text is not such a URL
 */
export function parsePublicUrl(text: string, view: string | undefined): string {
  const option = '--public-url'
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.host === '') {
    throw new OptionError(option, `${JSON.stringify(text)} is not a URL; use https://HOST or https://HOST:PORT`)
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new OptionError(option, `${JSON.stringify(text)} has more than a host and a port; use ${url.origin}`)
  }
  const own = view === undefined ? [] : [`/${view}`, `/${view}/`]
  if (!['/', ...own].includes(url.pathname)) {
    throw new OptionError(
      option,
      `${JSON.stringify(text)} has a path; let the proxy pass paths on unchanged, and use ${url.origin}`,
    )
  }
  return url.origin
}

/** Parses the address of a proxy, or a network of proxies as `ADDRESS/BITS`. @throws OptionError anything else */
export function parseNetwork(option: string, text: string): Network {
  const [address = '', bitsText, ...more] = text.split('/')
  const version = isIP(address)
  const most = version === 6 ? 128 : 32
  const bits = bitsText === undefined ? most : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : Number.NaN
  if (version === 0 || address.includes('%') || more.length > 0 || !(bits <= most)) {
    throw new OptionError(
      option,
      `${JSON.stringify(text)} is neither an address nor a network; use 127.0.0.1, 10.0.0.0/8 or ::1`,
    )
  }
  return { address, bits, family: version === 6 ? 'ipv6' : 'ipv4' }
}
