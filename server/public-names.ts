import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { Settings } from '../config/index.ts'
import { hostKey } from '../protocols/webdav/index.ts'

/** One hop from the client to this server, as a proxy reports it. */
interface Step {
  /** The address of the proxy's client; undefined if the proxy does not report it. */
  readonly client: string | undefined
  /** The host names of the request, as in Host. */
  readonly hosts: readonly string[]
}

/**
 * The names of this server besides the one in Host: names that the operator declared, and names that a trusted proxy
 * reports in Forwarded (RFC 7239) or X-Forwarded-Host. These fields are ignored if anybody else sends them.
 */
export class PublicNames {
  #declared: ReadonlySet<string> = new Set()
  #proxies = new BlockList()
  #trusts = false
  /** Whether clients come through proxies that are not known. */
  #hidden = false

  constructor(settings: Pick<Settings, 'publicUrls' | 'trustedProxies'>) {
    this.change(settings)
  }

  /** Takes other names and proxies from now on. */
  change({ publicUrls, trustedProxies }: Pick<Settings, 'publicUrls' | 'trustedProxies'>): void {
    this.#proxies = new BlockList()
    this.#declared = new Set(publicUrls.map((url) => hostKey(new URL(url).host)))
    this.#trusts = trustedProxies.length > 0
    this.#hidden = publicUrls.length > 0 && !this.#trusts
    for (const { address, bits, family } of trustedProxies) this.#proxies.addSubnet(address, bits, family)
  }

  /** Whether the operator declared this host and port as a name of the server. */
  isDeclared(authority: string): boolean {
    return this.#declared.has(hostKey(authority))
  }

  /** Whether this host and port mean this server from the point of view of the sender of the request. */
  isOurs(authority: string, req: IncomingMessage): boolean {
    return this.isDeclared(authority) || this.#reported(req).has(hostKey(authority))
  }

  /** Whether this is the address of a trusted proxy. */
  isProxy(address: string | undefined): boolean {
    return this.#isProxy(address)
  }

  /**
   * The address by which a client is counted and logged: behind trusted proxies, the one that the outermost of them reports; that of the connection
   * otherwise, and also where Forwarded and X-Forwarded-For contradict each other, because a proxy sets one of them and passes on what a client puts in the other.
   */
  clientOf(req: IncomingMessage): string {
    const { remoteAddress = '' } = req.socket
    if (!this.#trusts || !this.#isProxy(remoteAddress)) return remoteAddress
    const [only = remoteAddress, ...others] = this.#farthest(req)
    return others.length > 0 ? remoteAddress : only
  }

  /**
   * The address of the client's machine: of the connection, or what trusted proxies report. Empty if it is not known for certain: the proxy is not
   * trusted, reports none, or passes on fields of the client that contradict its own.
   */
  machineOf(req: IncomingMessage): string {
    const { headers } = req
    const { remoteAddress = '' } = req.socket
    const { forwarded, via } = headers
    const [forHeader, hostHeader] = [headers['x-forwarded-for'], headers['x-forwarded-host']]
    if (!this.#isProxy(remoteAddress)) {
      const direct = [forwarded, via, forHeader, hostHeader].every((field) => field === undefined)
      return direct && !this.#hidden ? withoutMapping(remoteAddress) : ''
    }
    const found = this.#farthest(req)
    const [only = ''] = found
    return found.size === 1 && !this.#isProxy(only) ? withoutMapping(only) : ''
  }

  /** What trusted proxies report in Forwarded and in X-Forwarded-For: one address, two if they contradict each other, none if there is neither. */
  #farthest({ headers, socket }: IncomingMessage): Set<string> {
    const chains = [
      readForwarded(headers.forwarded).map(({ client }) => client),
      addressesOf(headers['x-forwarded-for']),
    ]
    return new Set(
      chains.filter(({ length }) => length > 0).map((chain) => this.#outermost(socket.remoteAddress ?? '', chain)),
    )
  }

  /** The address farthest away that a trusted proxy has reported. `chain`: as reported, the client's first. */
  #outermost(connected: string, chain: readonly (string | undefined)[]): string {
    let found = connected
    for (const client of chain.toReversed()) {
      if (client === undefined || isIP(client) === 0) break
      found = client
      if (!this.#isProxy(client)) break
    }
    return found
  }

  #reported({ headers, socket }: IncomingMessage): ReadonlySet<string> {
    const found = new Set<string>()
    if (!this.#trusts || !this.#isProxy(socket.remoteAddress)) return found
    for (const steps of [readForwarded(headers.forwarded), readXForwarded(headers)]) {
      // Each proxy appends an entry: the last one is from the proxy that connected to us, and its client address decides whether the entry before is trusted.
      for (const { client, hosts } of steps.reverse()) {
        for (const host of hosts) found.add(hostKey(host))
        if (!this.#isProxy(client)) break
      }
    }
    return found
  }

  #isProxy(address: string | undefined): boolean {
    const version = isIP(address ?? '')
    return version !== 0 && this.#proxies.check(address as string, version === 6 ? 'ipv6' : 'ipv4')
  }
}

/** The hops of a Forwarded field, the client's first. */
function readForwarded(field: string | undefined): Step[] {
  return split(field ?? '', ',').map((element) => {
    const pairs = split(element, ';').map((pair) => /^([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^"\s]*))$/.exec(pair))
    const parameter = (name: string) => {
      const found = pairs.find((pair) => pair?.[1]?.toLowerCase() === name)
      return found?.[2]?.replace(/\\(.)/g, '$1') ?? found?.[3]
    }
    const host = parameter('host')
    return { client: bareAddress(parameter('for')), hosts: host === undefined ? [] : [host] }
  })
}

/** The hops reported by X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Port, the client's first. */
function readXForwarded(headers: IncomingMessage['headers']): Step[] {
  const values = (name: string) => split(String(headers[name] ?? ''), ',')
  const clients = values('x-forwarded-for')
  const hosts = values('x-forwarded-host')
  const ports = values('x-forwarded-port')
  // A proxy that replaces a field instead of appending to it leaves one value, so values are matched from the end.
  return Array.from({ length: hosts.length }, (_, i) => {
    const fromEnd = hosts.length - i
    const host = hosts[i] as string
    const port = ports.at(-fromEnd)
    return {
      client: bareAddress(clients.at(-fromEnd)),
      hosts: port === undefined || /[^\]]:\d*$/.test(host) ? [host] : [host, `${host}:${port}`],
    }
  })
}

/** Splits at `separator` outside of quotes, trims the pieces and drops empty ones. */
function split(text: string, separator: ',' | ';'): string[] {
  if (!text.includes('"')) return trimmed(text.split(separator))
  const pieces: string[] = []
  let from = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    if (quoted && text[at] === '\\') at++
    else if (text[at] === '"') quoted = !quoted
    else if (!quoted && text[at] === separator) {
      pieces.push(text.slice(from, at))
      from = at + 1
    }
  }
  return trimmed([...pieces, text.slice(from)])
}

function trimmed(pieces: readonly string[]): string[] {
  return pieces.map((piece) => piece.trim()).filter((piece) => piece !== '')
}

/** The addresses in X-Forwarded-For. */
function addressesOf(field: string | readonly string[] | undefined): (string | undefined)[] {
  return split(String(field ?? ''), ',').map(bareAddress)
}

/** An IPv4 address that a listener for IPv6 shows as `::ffff:…`, in its own form; others as the system writes them. */
function withoutMapping(address: string): string {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? []
  if (mapped !== undefined) return mapped
  return isIP(address) === 6 ? new URL(`http://[${address}]/`).hostname.slice(1, -1) : address
}

/** Removes brackets and port from an address. */
function bareAddress(text: string | undefined): string | undefined {
  return text === undefined ? undefined : (/^\[([^\]]*)\]/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text)
}
