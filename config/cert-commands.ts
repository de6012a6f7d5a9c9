import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import { CERT_OPTIONS } from './cert-options.ts'
import { absolute, type Environment } from './environment.ts'
import { helpOn } from './help.ts'
import type { Command } from './settings.ts'

/** Whom a certificate can be for. */
export const CERTIFICATE_KINDS = ['server', 'user', 'machine'] as const
export type CertificateKind = (typeof CERTIFICATE_KINDS)[number]

/** What `overlayd cert` is told. Directories are absolute. */
export interface CertRequest {
  readonly verb: 'ca' | 'issue' | 'revoke' | 'list'
  /** The directory of the authority. */
  readonly directory: string
  /** The name of the authority, for people. */
  readonly name: string | undefined
  readonly kind: CertificateKind | undefined
  /** The host names and addresses of a server, or the name of a user or machine; for `revoke` without `kind` a serial number. */
  readonly names: readonly string[]
  readonly days: number | undefined
  /** Where the certificate and key go; undefined: to the directory of the authority. */
  readonly out: string | undefined
  readonly json: boolean
}

const VERBS = ['ca', 'issue', 'revoke', 'list'] as const
const MOST_DAYS = 36_500

/** `overlayd cert …`. @throws OptionError */
export function parseCert([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('cert') }
  const verb = VERBS.find((each) => each === word)
  if (word === undefined) throw new OptionError('cert', `needs a word more; say ${VERBS.join(', ')}`)
  if (verb === undefined) throw OptionError.unknown(word, VERBS, 'word after cert')
  const { values, words } = cutArguments(argv, CERT_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('cert') }
  const [directory, ...rest] = words
  if (directory === undefined)
    throw new OptionError('cert', `${verb} needs the directory of the authority; say overlayd cert ${verb} DIR`)
  const out = values.get('--out')?.at(-1)
  return {
    kind: 'cert',
    cert: {
      ...{
        verb,
        directory: absolute(directory, environment),
        name: values.get('--name')?.at(-1),
        json: values.has('--json'),
      },
      ...namesOf(verb, rest),
      days: parseDays(values.get('--days')?.at(-1)),
      out: out === undefined ? undefined : absolute(out, environment),
    },
  }
}

function namesOf(verb: CertRequest['verb'], words: readonly string[]): Pick<CertRequest, 'kind' | 'names'> {
  if (verb === 'ca' || verb === 'list') {
    if (words.length > 0)
      throw new OptionError(`cert ${verb}`, `takes no further word, but got ${JSON.stringify(words[0])}`)
    return { kind: undefined, names: [] }
  }
  const [first, ...names] = words
  const kind = CERTIFICATE_KINDS.find((each) => each === first)
  if (verb === 'revoke' && kind === undefined && first !== undefined && names.length === 0)
    return { kind, names: [first] }
  const example = verb === 'issue' ? 'issue DIR server|user|machine NAME' : 'revoke DIR SERIAL, or revoke DIR user NAME'
  if (kind === undefined || names.length === 0)
    throw new OptionError('cert', `${verb} needs a kind and a name; say overlayd cert ${example}`)
  if (names.length > 1 && (kind !== 'server' || verb === 'revoke'))
    throw new OptionError('cert', `a ${kind} has one name; remove ${JSON.stringify(names[1])}`)
  return { kind, names }
}

function parseDays(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const days = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (days < 1 || days > MOST_DAYS)
    throw new OptionError('--days', `${JSON.stringify(text)} is not a number of days; use 1 to ${MOST_DAYS}`)
  return days
}
