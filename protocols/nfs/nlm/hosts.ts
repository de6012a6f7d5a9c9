import { LRUCache } from 'lru-cache'
import type { Peer } from '../rpc/call.ts'

/** A client that uses locks: a machine, identified by its certificate or address and its own name. */
export interface NlmHost {
  /** Identifies the host; the `client` of its lock owners. */
  readonly key: string
  readonly address: string
  /** Its certificate, or again its address. */
  readonly client: string
  readonly name: string
  /** The transport and the server address that it uses. */
  transport: 'tcp' | 'udp'
  ourAddress: string | undefined
  /** Its last reported NSM state; undefined if it never reported one. */
  state: number | undefined
}

/** The maximum number of hosts, in total and per address: many may share one NAT address, and names are easily invented. */
const MAX_HOSTS = 4096
const MAX_OF_ADDRESS = 256

/** The clients that have requested locks. */
export class NlmHosts {
  readonly #hosts = new LRUCache<string, NlmHost>({ max: MAX_HOSTS })
  readonly #inUse: (key: string) => boolean

  /** `inUse` tells whether a host holds locks. */
  constructor(inUse: (key: string) => boolean) {
    this.#inUse = inUse
  }

  /** The host that sent a call. An unknown one is not stored until `keep`. */
  of(peer: Peer, name: string): NlmHost {
    const key = `${peer.client} ${name}`
    const host = this.#hosts.get(key) ?? {
      key,
      address: peer.address,
      client: peer.client,
      name,
      transport: peer.transport,
      ourAddress: peer.localAddress,
      state: undefined,
    }
    host.transport = peer.transport
    host.ourAddress = peer.localAddress ?? host.ourAddress
    return host
  }

  /** Stores a host that is about to get a lock; false if too many hosts hold locks. */
  keep(host: NlmHost): boolean {
    if (this.#hosts.has(host.key)) return true
    const there = [...this.#hosts.values()].filter(({ address }) => address === host.address)
    if (there.length >= MAX_OF_ADDRESS && !this.#forgetOne(there)) return false
    if (this.#hosts.size >= MAX_HOSTS && !this.#forgetOne([...this.#hosts.values()])) return false
    this.#hosts.set(host.key, host)
    return true
  }

  /** The hosts at an address. */
  at(address: string): NlmHost[] {
    return [...this.#hosts.values()].filter((host) => host.address === address)
  }

  /** The host with this key. */
  byKey(key: string): NlmHost | undefined {
    return this.#hosts.peek(key)
  }

  /** Drops the least recently active host without locks. */
  #forgetOne(hosts: readonly NlmHost[]): boolean {
    const idle = hosts.findLast(({ key }) => !this.#inUse(key))
    return idle !== undefined && this.#hosts.delete(idle.key)
  }

  /**
   * The hosts that `name` of a client may mean: the host with this name; if there is none (some notify with their address or full name), all hosts of that
   * client. Never a host of another client, whatever the name.
   */
  find(client: string, name: string): NlmHost[] {
    const there = [...this.#hosts.values()].filter((host) => host.client === client)
    const named = there.filter((host) => shortName(host.name) === shortName(name))
    return named.length > 0 ? named : there
  }
}

function shortName(name: string): string {
  return name.toLowerCase().split('.')[0]
}
