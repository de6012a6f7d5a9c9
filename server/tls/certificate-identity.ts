import type { X509Certificate } from 'node:crypto'
import { viewNameError } from '../registry/view-name.ts'

/** Whom a client certificate is for. */
export interface CertificateIdentity {
  readonly kind: 'user' | 'machine'
  readonly name: string
}

/** URIs in the subject alternative name that name a user or machine: `overlayd:user/NAME`, with percent-encoding as in RFC 3986. */
const SCHEME = 'overlayd:'
const IDENTITY = /^overlayd:(user|machine)\/((?:[A-Za-z0-9._~@+-]|%[0-9A-Fa-f]{2})+)$/

/** The URI that names a user or machine. */
export function identityUri({ kind, name }: CertificateIdentity): string {
  return `${SCHEME}${kind}/${encodeURIComponent(name).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)}`
}

/** The user or machine that a certificate names; undefined if it names none, several, or a name that no view may have. */
export function identityOf({
  subjectAltName,
}: Pick<X509Certificate, 'subjectAltName'>): CertificateIdentity | undefined {
  const uris = alternativeNames(subjectAltName ?? '').flatMap((name) =>
    name.startsWith('URI:') ? [name.slice(4)] : [],
  )
  const [own, ...more] = uris.filter((uri) => uri.toLowerCase().startsWith(SCHEME))
  const [, kind, encoded = ''] = (more.length === 0 && own !== undefined && IDENTITY.exec(own)) || []
  if (kind !== 'user' && kind !== 'machine') return undefined
  const name = decoded(encoded)
  return name === undefined || viewNameError(name) !== undefined ? undefined : { kind, name }
}

/**
 * The names in the text that Node makes of a subject alternative name: `DNS:a, URI:b`. A name that contains a separator is a JSON string there,
 * so that it cannot pretend to be several.
 */
export function alternativeNames(text: string): string[] {
  return [...text.matchAll(/(?:^|, )([A-Za-z0-9 ]+:)("(?:[^"\\]|\\.)*"|[^",]*)(?=, |$)/g)].map(
    ([, type = '', value = '']) => type + (value.startsWith('"') ? unquoted(value) : value),
  )
}

function unquoted(value: string): string {
  try {
    return String(JSON.parse(value))
  } catch {
    return value
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
