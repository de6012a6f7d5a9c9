import { BlockList, isIP } from 'node:net'
import type { ExportRule } from './exports.ts'

interface Entry {
  readonly rule: ExportRule
  /** The network; undefined for `*`. */
  readonly network: BlockList | undefined
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
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    return this.#entries.find(({ network }) => network === undefined || network.check(address, family))?.rule
  }
}

function entryOf(rule: ExportRule): Entry {
  if (rule.client === '*') return { rule, network: undefined, prefixBits: -1 }
  const [address, bits] = rule.client.split('/')
  const family = isIP(address)
  const prefixBits = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits)
  const network = new BlockList()
  network.addSubnet(address, prefixBits, family === 4 ? 'ipv4' : 'ipv6')
  return { rule, network, prefixBits }
}
