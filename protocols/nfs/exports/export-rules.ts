import { isIP } from 'node:net'
import type { TransportSecurity } from '../rpc/start-tls.ts'

/** The access of clients at an address to an export: one entry of exports(5). */
export interface ExportRule {
  /** Address, ADDRESS/BITS, host name or `*`. */
  client: string
  readOnly: boolean
  /** Which callers are mapped to the anonymous user: uid and gid 0, none, or all. `owner`: in a view of a template all act as its owner, elsewhere as the anonymous user. */
  squash: 'root' | 'none' | 'all' | 'owner'
  anonUid: number
  anonGid: number
  /** Only from ports below 1024. */
  secure: boolean
  /** Whether data is on disk before the reply. */
  sync: boolean
  /** How connections must be protected; a stronger way than one of these counts too. Undefined: see `NfsExport`. */
  xprtsec: readonly TransportSecurity[] | undefined
  /** Whether calls of the lock manager count also if their connection is not protected as `xprtsec` wants. */
  insecureLocks: boolean
}

type Change = (rule: ExportRule) => void

const FLAGS: Readonly<Record<string, Change>> = {
  rw: (rule) => {
    rule.readOnly = false
  },
  ro: (rule) => {
    rule.readOnly = true
  },
  root_squash: (rule) => {
    rule.squash = 'root'
  },
  no_root_squash: (rule) => {
    rule.squash = 'none'
  },
  all_squash: (rule) => {
    rule.squash = 'all'
  },
  owner_squash: (rule) => {
    rule.squash = 'owner'
  },
  no_all_squash: (rule) => {
    if (rule.squash === 'all') rule.squash = 'root'
  },
  secure: (rule) => {
    rule.secure = true
  },
  insecure: (rule) => {
    rule.secure = false
  },
  sync: (rule) => {
    rule.sync = true
  },
  async: (rule) => {
    rule.sync = false
  },
  insecure_locks: (rule) => {
    rule.insecureLocks = true
  },
  secure_locks: (rule) => {
    rule.insecureLocks = false
  },
}

/** Other names in exports(5). */
const SYNONYMS: Readonly<Record<string, string>> = { no_auth_nlm: 'insecure_locks', auth_nlm: 'secure_locks' }

/** Options of exports(5) that describe what this server always does, so that a line of /etc/exports works unchanged. */
const GRANTED = new Set([
  'no_subtree_check',
  'subtree_check',
  'wdelay',
  'no_wdelay',
  'sec=sys',
  'hide',
  'nohide',
  'crossmnt',
])

const VALID_OPTIONS = [...Object.keys(FLAGS), 'anonuid=N', 'anongid=N', 'xprtsec=none:tls:mtls'].join(', ')
const MAX_ID = 0xffff_fffe
const NOBODY = 65534

const DEFAULTS: Omit<ExportRule, 'client'> = {
  readOnly: true,
  squash: 'root',
  anonUid: NOBODY,
  anonGid: NOBODY,
  secure: true,
  sync: true,
  xprtsec: undefined,
  insecureLocks: false,
}

const SECURITIES: readonly TransportSecurity[] = ['none', 'tls', 'mtls']

/**
 * Parses the client list of exports(5): `[-OPTIONS] CLIENT(option,…) CLIENT…`. A client is an address, a network (`ADDRESS/BITS` or
 * `ADDRESS/NETMASK`), a host name or `*`; defaults are ro, root_squash, secure, sync, anonuid=65534, anongid=65534, unless `-OPTIONS` changes them.
 *
 * @throws Error one line with the wrong word and the valid ones
 */
export function parseExport(text: string): ExportRule[] {
  const words = text.split(/\s+/).filter((word) => word !== '')
  const defaults: ExportRule = { client: '', ...DEFAULTS }
  const rules: ExportRule[] = []
  for (const word of words) {
    if (word.startsWith('-')) applyOptions(defaults, word.slice(1))
    else rules.push(parseEntry(word, defaults))
  }
  if (rules.length === 0)
    throw new Error("export: no client given; use CLIENT(OPTION,…), for example '127.0.0.1(rw,insecure)'")
  return rules
}

function parseEntry(word: string, defaults: ExportRule): ExportRule {
  const match = /^([^()]+)(?:\(([^()]*)\))?$/.exec(word)
  if (match === null) {
    const hint = word.startsWith('(')
      ? 'has no client; remove the space before "("'
      : 'is malformed; use CLIENT(OPTION,…)'
    throw new Error(`export: '${word}' ${hint}`)
  }
  const rule: ExportRule = { ...defaults, client: parseClient(match[1]) }
  applyOptions(rule, match[2] ?? '')
  return rule
}

function applyOptions(rule: ExportRule, options: string): void {
  for (const option of options.split(',')) {
    if (option !== '') applyOption(rule, Object.hasOwn(SYNONYMS, option) ? SYNONYMS[option] : option)
  }
}

function applyOption(rule: ExportRule, option: string): void {
  const id = /^(anonuid|anongid)=(.*)$/.exec(option)
  if (id !== null) {
    const value = /^\d{1,10}$/.test(id[2]) ? Number(id[2]) : Number.NaN
    if (!(value <= MAX_ID)) throw new Error(`export: '${option}' needs a number from 0 to ${MAX_ID}`)
    if (id[1] === 'anonuid') rule.anonUid = value
    else rule.anonGid = value
    return
  }
  if (option.startsWith('xprtsec=')) {
    rule.xprtsec = parseSecurity(option)
    return
  }
  if (GRANTED.has(option)) return
  if (option.startsWith('sec=')) {
    throw new Error(
      `export: '${option}' is not supported, only sec=sys (AUTH_SYS) is; use xprtsec=mtls, which tells users apart by their certificates, or a VPN`,
    )
  }
  const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined
  if (flag === undefined) throw new Error(`export: unknown option '${option}'; use one of ${VALID_OPTIONS}`)
  flag(rule)
}

/** Parses `xprtsec=WORD[:WORD…]` of exports(5). @throws Error */
function parseSecurity(option: string): readonly TransportSecurity[] {
  const words = option.slice(option.indexOf('=') + 1).split(':')
  const known = SECURITIES.filter((security) => words.includes(security))
  if (known.length < new Set(words).size)
    throw new Error(`export: '${option}' is not understood; use xprtsec=none, tls or mtls, or several with colons`)
  return known
}

/** Parses the client of a rule. @throws Error it is invalid or not supported */
function parseClient(client: string): string {
  if (client === '*') return client
  if (client.startsWith('@')) {
    throw new Error(`export: '${client}' is a netgroup, which is not supported; use its hosts or their network`)
  }
  if (/[*?[\]]/.test(client)) {
    throw new Error(
      `export: '${client}' would have to trust reverse DNS, which clients can forge; use a network such as 192.168.0.0/24`,
    )
  }
  const slash = client.indexOf('/')
  const address = slash < 0 ? client : client.slice(0, slash)
  const family = isIP(address)
  if (family === 0 && slash < 0 && isHostName(client)) return client.toLowerCase()
  const bits = slash < 0 ? undefined : prefixBits(client.slice(slash + 1), family)
  if (family === 0 || (slash >= 0 && bits === undefined)) {
    throw new Error(
      `export: '${client}' is not a client; use an IP address, a network such as 192.168.0.0/24, a host name, or *`,
    )
  }
  return bits === undefined ? address : `${address}/${bits}`
}

function isHostName(text: string): boolean {
  const labels = text.replace(/\.$/, '').split('.')
  const isLabel = (label: string) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/i.test(label)
  // A name of numbers only is a mistyped address.
  return text.length <= 253 && labels.every(isLabel) && !/^[\d.]+$/.test(text)
}

/** The prefix length for the text after the slash; undefined if invalid. */
function prefixBits(text: string, family: number): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= (family === 4 ? 32 : 128) ? Number(text) : undefined
  if (family !== 4 || isIP(text) !== 4) return undefined
  const mask = text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const zeros = 32 - Math.clz32(~mask)
  return mask === 2 ** 32 - 2 ** zeros ? 32 - zeros : undefined
}
