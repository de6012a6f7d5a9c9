import { BlockList, isIP } from 'node:net'
import type { ExportRule } from './exports.ts'

interface Entry {
  readonly rule: ExportRule
  /** The network; undefined for `*`. */
  readonly network: BlockList | undefined
  /** 4 or 6; 0 for `*`. */
  readonly family: number
  /** How narrow the rule is: bits of the prefix, -1 for `*`. */
  readonly prefixBits: number
}

/** Finds the rule of an export that is for a client. */
export class ClientMatcher {
  readonly #entries: readonly Entry[]

  constructor(rules: readonly ExportRule[]) {
    // Stable sort: of two rules of the same width the one given first counts.
    this.#entries = rules.map(entryOf).sort((a, b) => b.prefixBits - a.prefixBits)
  }

  /** The rule with the longest prefix that holds `address`, undefined when there is none. */
  find(address: string): ExportRule | undefined {
    const family = isIP(address)
    return this.#entries.find((entry) => holds(entry, address, family))?.rule
  }
}

function entryOf(rule: ExportRule): Entry {
  if (rule.client === '*') return { rule, network: undefined, family: 0, prefixBits: -1 }
  const [address, bits] = rule.client.split('/')
  const family = isIP(address)
  const prefixBits = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits)
  const network = new BlockList()
  network.addSubnet(address, prefixBits, nameOf(family))
  return { rule, network, family, prefixBits }
}

function holds({ network, family }: Entry, address: string, addressFamily: number): boolean {
  if (network === undefined) return true
  // A BlockList takes IPv4 addresses for members of ::/0; exports(5) does not.
  return family === addressFamily && network.check(address, nameOf(family))
}

function nameOf(family: number): 'ipv4' | 'ipv6' {
  return family === 6 ? 'ipv6' : 'ipv4'
}
