import { BlockList, isIP } from 'node:net'
import type { ExportRule } from './export-rules.ts'

interface Entry {
  readonly rule: ExportRule
  /** The network; undefined for `*` and for a host name. */
  readonly network: BlockList | undefined
  /** The addresses of a host name at the last lookup. */
  readonly addresses: ReadonlySet<string> | undefined
  /** 4 or 6; 0 for `*` and a host name. */
  readonly family: number
  /** How specific the rule is: bits of the prefix, 128 for one host, -1 for `*`. */
  readonly prefixBits: number
}

/** The present addresses of host names. */
export type AddressesOf = (hostName: string) => ReadonlySet<string>

/** Finds the rule of an export that matches a client. */
export class ClientMatcher {
  readonly #entries: readonly Entry[]

  /** `addressesOf` returns a set that is kept up to date. */
  constructor(rules: readonly ExportRule[], addressesOf: AddressesOf = () => new Set()) {
    // Stable sort: of two equally specific rules, the first one wins.
    this.#entries = rules.map((rule) => entryOf(rule, addressesOf)).sort((a, b) => b.prefixBits - a.prefixBits)
  }

  /** The rule with the longest prefix that matches `address`; undefined if there is none. */
  find(address: string): ExportRule | undefined {
    const family = isIP(address)
    return this.#entries.find((entry) => holds(entry, address, family))?.rule
  }
}

/** Whether the client of a rule is a host name. */
export function isHostRule({ client }: ExportRule): boolean {
  return client !== '*' && isIP(client.split('/')[0]) === 0
}

function entryOf(rule: ExportRule, addressesOf: AddressesOf): Entry {
  const none = { rule, network: undefined, addresses: undefined, family: 0 }
  if (rule.client === '*') return { ...none, prefixBits: -1 }
  if (isHostRule(rule)) return { ...none, addresses: addressesOf(rule.client), prefixBits: 128 }
  const [address, bits] = rule.client.split('/')
  const family = isIP(address)
  const prefixBits = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits)
  const network = new BlockList()
  network.addSubnet(address, prefixBits, nameOf(family))
  // A single host is equally specific in either address family.
  return {
    rule,
    network,
    addresses: undefined,
    family,
    prefixBits: family === 4 && prefixBits === 32 ? 128 : prefixBits,
  }
}

function holds({ network, addresses, family }: Entry, address: string, addressFamily: number): boolean {
  if (addresses !== undefined) return addresses.has(address)
  if (network === undefined) return true
  // A BlockList considers IPv4 addresses members of ::/0; exports(5) does not.
  return family === addressFamily && network.check(address, nameOf(family))
}

function nameOf(family: number): 'ipv4' | 'ipv6' {
  return family === 6 ? 'ipv6' : 'ipv4'
}
