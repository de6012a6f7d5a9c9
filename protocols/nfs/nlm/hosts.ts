import { LRUCache } from 'lru-cache'
import type { Peer } from '../rpc/call.ts'

/** A client that uses locks: a machine, by its address and the name that it calls itself. */
export interface NlmHost {
  /** Tells hosts apart; the `client` of its lock owners. */
  readonly key: string
  readonly address: string
  readonly name: string
  /** How it talks to us, and the address of ours that it uses. */
  transport: 'tcp' | 'udp'
  ourAddress: string | undefined
  /** Its NSM state when it last said so; undefined when it never did. */
  state: number | undefined
}

/** Hosts remembered, in all and of one address: many may come through one NAT, and names are easily made up. */
const MAX_HOSTS = 4096
const MAX_OF_ADDRESS = 256

/** The clients that have asked for locks. */
export class NlmHosts {
  readonly #hosts = new LRUCache<string, NlmHost>({ max: MAX_HOSTS })
  readonly #inUse: (key: string) => boolean

  /** `inUse` tells whether a host holds locks. */
  constructor(inUse: (key: string) => boolean) {
    this.#inUse = inUse
  }

  /** The host that a call comes from. One that is not known is not remembered for that: see `keep`. */
  of(peer: Peer, name: string): NlmHost {
    const key = `${peer.address} ${name}`
    const host = this.#hosts.get(key) ?? {
      key,
      address: peer.address,
      name,
      transport: peer.transport,
      ourAddress: peer.localAddress,
      state: undefined,
    }
    host.transport = peer.transport
    host.ourAddress = peer.localAddress ?? host.ourAddress
    return host
  }

  /** Remembers a host that is about to get a lock; false when too many are known that hold some. */
  keep(host: NlmHost): boolean {
    if (this.#hosts.has(host.key)) return true
    const there = [...this.#hosts.values()].filter(({ address }) => address === host.address)
    if (there.length >= MAX_OF_ADDRESS && !this.#forgetOne(there)) return false
    if (this.#hosts.size >= MAX_HOSTS && !this.#forgetOne([...this.#hosts.values()])) return false
    this.#hosts.set(host.key, host)
    return true
  }

  /** Forgets the one that was heard of least lately of those that hold nothing. */
  #forgetOne(hosts: readonly NlmHost[]): boolean {
    const idle = hosts.findLast(({ key }) => !this.#inUse(key))
    return idle !== undefined && this.#hosts.delete(idle.key)
  }

  /**
   * The hosts that `name` at `address` stands for: that of this name; when none is called so (some notify by their address or their full name), all at that
   * address. Never one of another address, whatever the name says.
   */
  find(address: string, name: string): NlmHost[] {
    const there = [...this.#hosts.values()].filter((host) => host.address === address)
    const named = there.filter((host) => shortName(host.name) === shortName(name))
    return named.length > 0 ? named : there
  }
}

function shortName(name: string): string {
  return name.toLowerCase().split('.')[0]
}
