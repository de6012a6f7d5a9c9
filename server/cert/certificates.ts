// The library needs it, and asks for it to be loaded first.
import 'reflect-metadata'
import { KeyObject, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { RandomBytes } from '../random.ts'

/** ECDSA with P-256: every client knows it, and a handshake takes a tenth of the time of RSA. */
export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' }
export const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' }
/** Clocks of clients may be somewhat behind. */
const CLOCK_SKEW_MS = 5 * 60_000
/** RFC 5280 section 4.1.2.2 allows 20 bytes; 16 random ones are never equal. */
const SERIAL_BYTES = 16

/** A certificate and its private key, in PEM form. */
export interface Issued {
  readonly cert: string
  readonly key: string
  /** Hexadecimal. */
  readonly serial: string
}

/** An authority that signs certificates. */
export interface Authority {
  readonly certificate: X509Certificate
  readonly key: webcrypto.CryptoKey
}

/** What a certificate is to say. */
export interface CertificatePlan {
  /** The common name, for people. */
  readonly commonName: string
  readonly names: readonly JsonGeneralName[]
  readonly use: 'server' | 'client'
  readonly fromMs: number
  readonly days: number
}

const DAY_MS = 24 * 60 * 60_000

/** Makes an authority that signs certificates, but no further authorities. */
export async function makeAuthority(
  plan: Pick<CertificatePlan, 'commonName' | 'fromMs' | 'days'>,
  random: RandomBytes,
): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...head(plan, random),
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return issued(certificate, keys.privateKey)
}

/** Issues a certificate with a new key. `authority`: who signs it; undefined: the key itself. */
export async function issueCertificate(
  authority: Authority | undefined,
  plan: CertificatePlan,
  random: RandomBytes,
): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([plan.use === 'server' ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth]),
    new SubjectAlternativeNameExtension([...plan.names]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
  ]
  const common = head(plan, random)
  if (authority === undefined)
    return issued(await X509CertificateGenerator.createSelfSigned({ ...common, keys, extensions }), keys.privateKey)
  extensions.push(await AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey))
  const certificate = await X509CertificateGenerator.create({
    ...common,
    subject: common.name,
    issuer: authority.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions,
  })
  return issued(certificate, keys.privateKey)
}

/** An authority from its certificate and key in PEM form. */
export async function openAuthority(cert: string, key: KeyObject): Promise<Authority> {
  return {
    certificate: new X509Certificate(cert),
    key: key.toCryptoKey(KEY_ALGORITHM, false, ['sign']),
  }
}

/** The names of a server in a certificate: addresses, and host names. */
export function serverNames(hosts: readonly string[]): JsonGeneralName[] {
  return hosts.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))
}

function head(
  { commonName, fromMs, days }: Pick<CertificatePlan, 'commonName' | 'fromMs' | 'days'>,
  random: RandomBytes,
) {
  const serial = Buffer.from(random(SERIAL_BYTES))
  // Positive, and without a leading zero, so that all programs show the same digits.
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  return {
    serialNumber: serial.toString('hex'),
    name: new Name([{ CN: [{ utf8String: commonName }] }]),
    notBefore: new Date(fromMs - CLOCK_SKEW_MS),
    notAfter: new Date(fromMs + days * DAY_MS),
    signingAlgorithm: SIGNING_ALGORITHM,
  }
}

function issued(certificate: X509Certificate, privateKey: webcrypto.CryptoKey): Issued {
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: String(KeyObject.from(privateKey).export({ format: 'pem', type: 'pkcs8' })),
    serial: certificate.serialNumber,
  }
}
