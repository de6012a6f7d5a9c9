import { isIP } from 'node:net'

/** What clients of an address may do with an export: one entry of exports(5). */
export interface ExportRule {
  /** Address, CIDR or `*`. */
  client: string
  readOnly: boolean
  /** Whose calls are made as the anonymous user: those of uid and gid 0, nobody's, or all. */
  squash: 'root' | 'none' | 'all'
  anonUid: number
  anonGid: number
  /** Only from ports below 1024. */
  secure: boolean
  /** Data is on disk when the client is told so. */
  sync: boolean
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
}

const VALID_OPTIONS = [...Object.keys(FLAGS), 'anonuid=N', 'anongid=N'].join(', ')
const MAX_ID = 0xffff_fffe
const NOBODY = 65534

/**
 * Parses the client list of exports(5): `CLIENT(option,…) CLIENT…`. A client is an address, a CIDR or `*`; defaults are
 * ro, root_squash, secure, sync, anonuid=65534, anongid=65534.
 *
 * @throws Error one line that names the word that is wrong and what is valid
 */
export function parseExport(text: string): ExportRule[] {
  const words = text.split(/\s+/).filter((word) => word !== '')
  if (words.length === 0)
    throw new Error("export: no client given; write CLIENT(OPTION,…), for example '127.0.0.1(rw,insecure)'")
  return words.map(parseEntry)
}

function parseEntry(word: string): ExportRule {
  const match = /^([^()]+)(?:\(([^()]*)\))?$/.exec(word)
  if (match === null) {
    const hint = word.startsWith('(') ? 'has no client: no space may stand before "("' : 'is not CLIENT(OPTION,…)'
    throw new Error(`export: '${word}' ${hint}`)
  }
  const client = match[1]
  if (!isClient(client)) {
    throw new Error(
      `export: '${client}' is not a client; valid are an IP address, a network such as 192.168.0.0/24, and *`,
    )
  }
  const rule: ExportRule = {
    client,
    readOnly: true,
    squash: 'root',
    anonUid: NOBODY,
    anonGid: NOBODY,
    secure: true,
    sync: true,
  }
  for (const option of (match[2] ?? '').split(',')) {
    if (option !== '') applyOption(rule, option)
  }
  return rule
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
  const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined
  if (flag === undefined) throw new Error(`export: unknown option '${option}'; valid are ${VALID_OPTIONS}`)
  flag(rule)
}

function isClient(client: string): boolean {
  if (client === '*') return true
  const slash = client.indexOf('/')
  if (slash < 0) return isIP(client) !== 0
  const family = isIP(client.slice(0, slash))
  const bits = client.slice(slash + 1)
  return family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}
