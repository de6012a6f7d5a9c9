import { OptionError } from '../overlay-core/index.ts'

/** Whether clients are asked for a certificate, or must have one. */
export const TLS_CLIENT_POLICIES = ['request', 'require'] as const
export type TlsClientPolicy = (typeof TLS_CLIENT_POLICIES)[number]

/** A certificate with its chain, and its private key: two PEM files, or twice the same one. Absolute paths. */
export interface CertificateFiles {
  readonly certificate: string
  readonly key: string
}

/** How the listeners encrypt. All paths are absolute. */
export interface TlsSettings {
  /** The server's own certificate; `self-signed`: one that is made at each start. */
  readonly own: CertificateFiles | 'self-signed'
  /** The authorities whose client certificates are accepted; undefined: clients are not asked for one. */
  readonly clientCa: string | undefined
  readonly clients: TlsClientPolicy
  /** A list of revoked client certificates (CRL). */
  readonly revoked: string | undefined
}

/** Reads `CERTIFICATE[,KEY]` or `self-signed`. `absolute` completes a path. @throws OptionError */
export function parseTls(text: string, absolute: (path: string) => string): TlsSettings['own'] {
  if (text === 'self-signed') return text
  const [certificate = '', key = certificate, ...more] = text.split(',')
  if (certificate === '' || key === '' || more.length > 0)
    throw new OptionError(
      '--tls',
      `${JSON.stringify(text)} does not name a certificate and a key; use CERTIFICATE.pem,KEY.pem, one file with both, or self-signed`,
    )
  return { certificate: absolute(certificate), key: absolute(key) }
}

/** @throws OptionError */
export function parseTlsClients(text: string): TlsClientPolicy {
  const found = TLS_CLIENT_POLICIES.find((word) => word === text)
  if (found === undefined)
    throw new OptionError('--tls-clients', `${JSON.stringify(text)} is no policy; use request or require`)
  return found
}

/** What was given of the settings of TLS. */
export type TlsParts = { readonly [Part in keyof TlsSettings]: TlsSettings[Part] | undefined }

/** Errors about parts that were given without those that they need; empty if there are none. */
export function tlsErrors({ own, clientCa, clients, revoked }: TlsParts): OptionError[] {
  const errors: OptionError[] = []
  const complain = (option: string, message: string) => errors.push(new OptionError(option, message))
  if (own === undefined && clientCa !== undefined)
    complain('--tls-client-ca', 'requires a certificate of the server; add --tls CERTIFICATE,KEY')
  if (clientCa === undefined && clients === 'require')
    complain('--tls-clients', 'require needs to know whose certificates are valid; add --tls-client-ca FILE')
  if (clientCa === undefined && revoked !== undefined)
    complain('--tls-revoked', 'applies to client certificates; add --tls-client-ca FILE')
  return errors
}
