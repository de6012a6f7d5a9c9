import { isIPv6 } from 'node:net'

/** One program that clients can find. */
export interface Mapping {
  readonly program: number
  readonly version: number
  readonly transport: 'tcp' | 'udp'
  readonly port: number
}

/** Stands for every address of the machine. */
const ANY = new Set(['0.0.0.0', '::'])

/** The programs of the built-in portmapper: those of this server. Nobody can register others. */
export class Mappings {
  readonly list: Mapping[]
  /** Whether clients reach them over IPv6. */
  readonly ipv6: boolean
  readonly #host: string

  /** `host` is where the programs listen. */
  constructor(list: readonly Mapping[], host: string) {
    this.list = [...list]
    this.ipv6 = isIPv6(host)
    this.#host = host
  }

  /**
   * The port of a program. If this version is not served, the port of another version, from which the caller learns the versions
   * served (RFC 1833 section 3.2, PMAPPROC_GETPORT). Undefined if there is none.
   */
  find(program: number, version: number, transport: string, exact = false): Mapping | undefined {
    const candidates = this.list.filter((entry) => entry.program === program && entry.transport === transport)
    return candidates.find((entry) => entry.version === version) ?? (exact ? undefined : candidates[0])
  }

  /** The address that is returned to a client: the one that it called, if known. */
  addressFor(localAddress: string | undefined, hint: string | undefined): string {
    if (!ANY.has(this.#host)) return this.#host
    return localAddress ?? hint ?? this.#host
  }

  /** The transport of a netid (RFC 5665); undefined if nothing is served on it. */
  transportOf(netid: string): 'tcp' | 'udp' | undefined {
    const match = /^(tcp|udp)(6?)$/.exec(netid)
    if (match === null || (match[2] === '6' && !this.ipv6)) return undefined
    return match[1] as 'tcp' | 'udp'
  }

  /** The netids of a mapping. */
  netidsOf({ transport }: Mapping): string[] {
    return this.ipv6 ? [transport, `${transport}6`] : [transport]
  }
}
