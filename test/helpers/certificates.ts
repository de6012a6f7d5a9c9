import { createPrivateKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Authority,
  type CertificatePlan,
  type Issued,
  issueCertificate,
  makeAuthority,
  openAuthority,
  serverNames,
} from '../../server/cert/certificates.ts'
import { makeList } from '../../server/cert/revocation-list.ts'
import { systemRandom } from '../../server/random.ts'
import { type CertificateIdentity, identityUri } from '../../server/tls/certificate-identity.ts'

const DAY_MS = 24 * 60 * 60_000

/** An authority of a test, which issues whatever a test needs. */
export class TestAuthority {
  readonly issued: Issued
  readonly #authority: Authority

  private constructor(issued: Issued, authority: Authority) {
    this.issued = issued
    this.#authority = authority
  }

  static async make(commonName = 'Test authority'): Promise<TestAuthority> {
    const issued = await makeAuthority({ commonName, fromMs: Date.now() - 30 * DAY_MS, days: 3650 }, systemRandom)
    return new TestAuthority(issued, await openAuthority(issued.cert, createPrivateKey(issued.key)))
  }

  /** The certificate of the authority, in PEM form. */
  get cert(): string {
    return this.issued.cert
  }

  server(hosts: readonly string[] = ['localhost', '127.0.0.1'], more: Partial<CertificatePlan> = {}): Promise<Issued> {
    const plan = { commonName: hosts[0] ?? '', names: serverNames(hosts), use: 'server', ...VALID(), ...more } as const
    return issueCertificate(this.#authority, plan, systemRandom)
  }

  client(kind: CertificateIdentity['kind'], name: string, more: Partial<CertificatePlan> = {}): Promise<Issued> {
    const names = [{ type: 'url', value: identityUri({ kind, name }) }] as const
    const plan = { commonName: name, names, use: 'client', ...VALID(), ...more } as const
    return issueCertificate(this.#authority, plan, systemRandom)
  }

  /** A list of revoked certificates, in PEM form. */
  revoke(...revoked: readonly Issued[]): Promise<string> {
    const entries = revoked.map(({ serial }) => ({ serial, at: new Date() }))
    return makeList(this.#authority, entries, Date.now())
  }
}

const VALID = () => ({ fromMs: Date.now(), days: 30 })
/** A plan that has expired. */
export const EXPIRED = { fromMs: Date.now() - 20 * DAY_MS, days: 10 }

/** Writes a certificate and its key; returns the value of `--tls` that names them. */
export function writePair(directory: string, name: string, { cert, key }: Pick<Issued, 'cert' | 'key'>): string {
  const [certPath, keyPath] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)]
  writeFileSync(keyPath, key, { mode: 0o600 })
  writeFileSync(certPath, cert)
  return `${certPath},${keyPath}`
}
