import type { X509Certificate } from 'node:crypto'
import { OptionError } from '../../overlay-core/index.ts'
import { readPem } from './read-pem.ts'

/** The client certificates that their authorities have revoked. */
export class Revocations {
  readonly warnings: readonly string[]
  /** The serial numbers by authority, which issued the list. */
  readonly #revoked: ReadonlyMap<X509Certificate, ReadonlySet<string>>

  constructor(revoked: ReadonlyMap<X509Certificate, ReadonlySet<string>>, warnings: readonly string[] = []) {
    this.#revoked = revoked
    this.warnings = warnings
  }

  /** The number of revoked certificates. */
  get size(): number {
    let size = 0
    for (const serials of this.#revoked.values()) size += serials.size
    return size
  }

  has(certificate: X509Certificate): boolean {
    for (const [authority, serials] of this.#revoked)
      if (serials.has(plainSerial(certificate.serialNumber)) && certificate.checkIssued(authority)) return true
    return false
  }
}

/**
 * Reads certificate revocation lists (RFC 5280 section 5) from a PEM file. Each must be signed by one of `authorities`. A list that says that there is a newer one is
 * used all the same: without it nothing would be revoked.
 *
 * @throws OptionError
 */
export async function readRevocations(
  path: string | undefined,
  authorities: readonly X509Certificate[],
  nowMs: number,
): Promise<Revocations> {
  if (path === undefined) return new Revocations(new Map())
  const option = '--tls-revoked'
  const text = await readPem(option, path)
  const blocks = text.match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? []
  if (blocks.length === 0 || blocks.length < (text.match(/-----BEGIN X509 CRL-----/g)?.length ?? 0))
    throw new OptionError(
      option,
      `${path} contains no complete list in PEM form (-----BEGIN X509 CRL-----); make it with overlayd cert revoke, or copy it again`,
    )
  // Loaded on demand, because only servers with a list need it.
  const { openList } = await import('../cert/revocation-list.ts')
  const revoked = new Map<X509Certificate, Set<string>>()
  const warnings: string[] = []
  for (const block of blocks) {
    const list = await openList(block, authorities)
    if (list === undefined)
      throw new OptionError(
        option,
        `${path} contains a list that is damaged, or that no authority in --tls-client-ca has signed; name the list of the same authority`,
      )
    const serials = revoked.get(list.authority) ?? new Set()
    for (const serial of list.serials) serials.add(plainSerial(serial))
    revoked.set(list.authority, serials)
    if (list.nextUpdateMs !== undefined && list.nextUpdateMs <= nowMs)
      warnings.push(`the list of revoked certificates in ${path} is out of date; get the present one`)
  }
  return new Revocations(revoked, warnings)
}

/** A serial number as hexadecimal digits, without leading zeros. */
function plainSerial(text: string): string {
  return text.toLowerCase().replace(/^0+(?=.)/, '')
}
