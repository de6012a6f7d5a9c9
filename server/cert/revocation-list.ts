// The library needs it, and asks for it to be loaded first.
import 'reflect-metadata'
import type { X509Certificate } from 'node:crypto'
import { PemConverter, X509Certificate as Readable, X509Crl, X509CrlGenerator } from '@peculiar/x509'
import { type Authority, SIGNING_ALGORITHM } from './certificates.ts'

/** A list of revoked certificates whose signature is valid. */
export interface OpenedList {
  /** Who signed it. */
  readonly authority: X509Certificate
  /** Hexadecimal. */
  readonly serials: readonly string[]
  /** When there is a newer list, if it says so. */
  readonly nextUpdateMs: number | undefined
}

/** A revoked certificate. */
export interface Revoked {
  /** Hexadecimal. */
  readonly serial: string
  readonly at: Date
}

/** Reads a list in PEM form; undefined if it is damaged, or none of the authorities has signed it. */
export async function openList(pem: string, authorities: readonly X509Certificate[]): Promise<OpenedList | undefined> {
  let list: X509Crl
  try {
    list = new X509Crl(pem)
  } catch {
    return undefined
  }
  for (const authority of authorities) {
    const readable = new Readable(authority.raw)
    if (readable.subject !== list.issuer || !(await isSignedBy(list, readable))) continue
    return {
      authority,
      serials: list.entries.map(({ serialNumber }) => serialNumber),
      nextUpdateMs: list.nextUpdate?.getTime(),
    }
  }
  return undefined
}

async function isSignedBy(list: X509Crl, { publicKey }: Readable): Promise<boolean> {
  try {
    return await list.verify({ publicKey })
  } catch {
    // A signature by another kind of key.
    return false
  }
}

/** The certificates in a list that this authority made. */
export function revokedIn(pem: string): Revoked[] {
  return new X509Crl(pem).entries.map(({ serialNumber, revocationDate }) => ({
    serial: serialNumber,
    at: revocationDate,
  }))
}

/** Makes a list in PEM form. It is valid until the authority ends, because there is nobody who renews it. */
export async function makeList(
  { certificate, key }: Authority,
  revoked: readonly Revoked[],
  nowMs: number,
): Promise<string> {
  const list = await X509CrlGenerator.create({
    issuer: certificate.subjectName,
    thisUpdate: new Date(nowMs),
    nextUpdate: certificate.notAfter,
    entries: revoked.map(({ serial, at }) => ({ serialNumber: serial, revocationDate: at })),
    signingAlgorithm: SIGNING_ALGORITHM,
    signingKey: key,
  })
  // The library names the block CRL; OpenSSL (and RFC 7468) X509 CRL.
  return `${PemConverter.encode(list.rawData, 'X509 CRL')}\n`
}
