import type { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { TlsSettings } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import { certificatesIn, day, privateKeyIn, readPem, refuseOutOfDate } from './read-pem.ts'
import { type Revocations, readRevocations } from './revocations.ts'

/** What the listeners need to speak TLS, read from its files and checked. */
export interface TlsCredentials {
  /** PEM: the server's certificate with its chain, and its key. */
  readonly cert: string
  readonly key: string
  /** The server's certificate. */
  readonly own: X509Certificate
  /** The authorities of client certificates; empty if clients are not asked for one. */
  readonly authorities: readonly X509Certificate[]
  readonly revocations: Revocations
  /** What is allowed and yet worth knowing, one sentence each. */
  readonly warnings: readonly string[]
}

/** A certificate that ends this soon is worth a warning. */
const SOON_MS = 14 * 24 * 60 * 60_000

/**
 * Reads the files of `settings` and checks that they belong together. `selfSigned` makes a certificate, with its key, in place of files.
 *
 * @throws OptionError naming the option, the file and the mend
 */
export async function readCredentials(
  settings: TlsSettings,
  nowMs: number,
  selfSigned: () => Promise<{ readonly cert: string; readonly key: string }>,
): Promise<TlsCredentials> {
  const { own: from, clientCa, revoked } = settings
  const made = from === 'self-signed' ? await selfSigned() : undefined
  const files = from === 'self-signed' ? { certificate: 'self-signed', key: 'self-signed' } : from
  const cert = made?.cert ?? (await readPem('--tls', files.certificate))
  const key = made?.key ?? (await readPem('--tls', files.key))
  const own = checkPair(files, cert, key, nowMs)
  const authorities = clientCa === undefined ? [] : await readAuthorities(clientCa, nowMs)
  const revocations = await readRevocations(revoked, authorities, nowMs)
  const warnings = [...revocations.warnings]
  if (own.validToDate.getTime() - nowMs < SOON_MS)
    warnings.push(`the certificate in ${files.certificate} expires on ${day(own.validToDate)}; replace it before that`)
  return { cert, key, own, authorities, revocations, warnings }
}

/** @throws OptionError the files do not make a server's certificate with its key */
function checkPair(
  files: { readonly certificate: string; readonly key: string },
  cert: string,
  key: string,
  nowMs: number,
): X509Certificate {
  const [own] = certificatesIn('--tls', files.certificate, cert) as [X509Certificate]
  if (own.ca)
    throw new OptionError(
      '--tls',
      `${files.certificate} starts with the certificate of an authority, not of a server; issue one with overlayd cert issue, and put it first`,
    )
  refuseOutOfDate('--tls', files.certificate, own, nowMs)
  if (!own.checkPrivateKey(privateKeyIn('--tls', files.key, key)))
    throw new OptionError(
      '--tls',
      `the key in ${files.key} does not belong to the certificate in ${files.certificate}; name the two files that were issued together`,
    )
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    const { message } = error as Error
    throw new OptionError(
      '--tls',
      `${files.certificate} cannot be used (${message.replace(/^error:[^:]*:[^:]*:[^:]*:/, '')}); issue a new one with overlayd cert issue`,
    )
  }
  return own
}

/** @throws OptionError */
async function readAuthorities(path: string, nowMs: number): Promise<X509Certificate[]> {
  const option = '--tls-client-ca'
  const authorities = certificatesIn(option, path, await readPem(option, path))
  for (const authority of authorities) {
    if (!authority.ca)
      throw new OptionError(
        option,
        `${path} contains the certificate of ${subjectOf(authority)}, which is not an authority; name the file of the authority that issued it`,
      )
    refuseOutOfDate(option, path, authority, nowMs)
  }
  return authorities
}

/** The subject of a certificate in one line, for messages. */
export function subjectOf({ subject }: X509Certificate): string {
  const text = (subject ?? '').replaceAll('\n', ', ').replace(/\p{Cc}/gu, '?')
  return text === '' ? 'a nameless subject' : text.slice(0, 200)
}
