import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { CertRequest } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import { systemClock } from '../clock.ts'
import type { Output } from '../config-command.ts'
import { systemRandom } from '../random.ts'
import { viewNameError } from '../registry/view-name.ts'
import { alternativeNames, identityOf, identityUri } from '../tls/certificate-identity.ts'
import { day } from '../tls/read-pem.ts'
import { AuthorityDirectory } from './authority-directory.ts'
import { type CertificatePlan, issueCertificate, makeAuthority, serverNames } from './certificates.ts'
import { makeList, revokedIn } from './revocation-list.ts'

const DAYS = { authority: 3650, certificate: 365 }

/** `overlayd cert …`: a small authority of one's own. Returns the exit status. @throws OptionError nothing has changed */
export async function runCert(request: CertRequest, output: Output): Promise<number> {
  const directory = new AuthorityDirectory(request.directory)
  if (request.verb === 'ca') return await makeCa(request, directory, output)
  if (request.verb === 'issue') return await issue(request, directory, output)
  if (request.verb === 'revoke') return await revoke(request, directory, output)
  return await list(request, directory, output)
}

async function makeCa({ name, days }: CertRequest, directory: AuthorityDirectory, { print }: Output): Promise<number> {
  const plan = { commonName: name ?? 'overlayd authority', fromMs: systemClock(), days: days ?? DAYS.authority }
  const made = await makeAuthority(plan, systemRandom)
  await directory.create(made, (authority) => makeList(authority, [], systemClock()))
  const { path } = directory
  print(
    `${path}/ca.pem is the authority: give it to clients and to tls.client_ca. ${path}/ca.key signs certificates: keep it secret, and keep a copy.\nNext:\n  overlayd cert issue ${path} server NAME\n`,
  )
  return 0
}

async function issue(request: CertRequest, directory: AuthorityDirectory, { print }: Output): Promise<number> {
  const plan = planOf(request)
  const authority = await directory.authority()
  const until = authority.certificate.notAfter.getTime()
  if (plan.fromMs + plan.days * 86_400_000 > until)
    throw new OptionError('--days', `the authority ends on ${day(new Date(until))}; use fewer days`)
  const issued = await issueCertificate(authority, plan, systemRandom)
  await directory.record(issued)
  const name = `${request.kind}-${encodeURIComponent(request.names[0] as string).replaceAll('*', '%2A')}`
  const { cert, key } = await directory.giveAway(request.out ?? directory.path, name, issued)
  print(`${cert}\n${key}\nserial ${issued.serial}, valid to ${day(new Date(plan.fromMs + plan.days * 86_400_000))}\n`)
  return 0
}

/** @throws OptionError a name cannot be that of a certificate */
function planOf({ kind, names, days }: CertRequest): CertificatePlan {
  const common = {
    commonName: (names[0] as string).slice(0, 64),
    fromMs: systemClock(),
    days: days ?? DAYS.certificate,
  }
  if (kind === 'server') {
    const wrong = names.find(
      (name) => isIP(name) === 0 && !/^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(name),
    )
    if (wrong !== undefined)
      throw new OptionError(
        'cert',
        `${JSON.stringify(wrong)} is neither a host name nor an address; use one as clients write it`,
      )
    return { ...common, use: 'server', names: serverNames(names) }
  }
  const name = names[0] as string
  const wrong = viewNameError(name)
  if (wrong !== undefined) throw new OptionError('cert', wrong)
  return {
    ...common,
    use: 'client',
    names: [{ type: 'url', value: identityUri({ kind: kind === 'user' ? 'user' : 'machine', name }) }],
  }
}

async function revoke(request: CertRequest, directory: AuthorityDirectory, { print }: Output): Promise<number> {
  const authority = await directory.authority()
  const issued = await directory.issued()
  const revoked: string[] = []
  await directory.changeList(async (present) => {
    const entries = present === '' ? [] : revokedIn(present)
    const known = new Set(entries.map(({ serial }) => serial.toLowerCase()))
    const meant = issued.filter((certificate) => isMeant(certificate, request))
    if (meant.length === 0)
      throw new OptionError(
        'cert',
        `no certificate of ${wordsOf(request)} was issued; see overlayd cert list ${directory.path}`,
      )
    for (const { serialNumber } of meant) {
      const serial = serialNumber.toLowerCase()
      if (known.has(serial)) continue
      entries.push({ serial, at: new Date(systemClock()) })
      revoked.push(serial)
    }
    if (revoked.length === 0) throw new OptionError('cert', `${wordsOf(request)} is revoked already`)
    return await makeList(authority, entries, systemClock())
  })
  print(`revoked ${revoked.join(', ')} in ${directory.path}/revoked.pem; servers that use it notice within a second\n`)
  return 0
}

function isMeant(certificate: X509Certificate, { kind, names }: CertRequest): boolean {
  const name = names[0] as string
  if (kind === undefined) return certificate.serialNumber.toLowerCase() === name.toLowerCase()
  const owner = ownerOf(certificate)
  return owner.kind === kind && owner.names.includes(name)
}

function wordsOf({ kind, names }: CertRequest): string {
  return kind === undefined ? `serial ${names[0]}` : `the ${kind} ${names[0]}`
}

/** Whom a certificate is for. */
function ownerOf(certificate: X509Certificate): { kind: string; names: readonly string[] } {
  const identity = identityOf(certificate)
  if (identity !== undefined) return { kind: identity.kind, names: [identity.name] }
  const names = alternativeNames(certificate.subjectAltName ?? '').map((name) => name.replace(/^(DNS|IP Address):/, ''))
  return { kind: 'server', names }
}

async function list({ json }: CertRequest, directory: AuthorityDirectory, { print }: Output): Promise<number> {
  await directory.authority()
  const present = await directory.list()
  const revoked = new Map(
    (present === '' ? [] : revokedIn(present)).map(({ serial, at }) => [serial.toLowerCase(), at]),
  )
  const rows = (await directory.issued())
    .map((certificate) => ({
      serial: certificate.serialNumber.toLowerCase(),
      ...ownerOf(certificate),
      from: certificate.validFromDate.toISOString(),
      to: certificate.validToDate.toISOString(),
      revoked: revoked.get(certificate.serialNumber.toLowerCase())?.toISOString() ?? null,
    }))
    .sort((a, b) => (a.from < b.from ? -1 : 1))
  if (json) print(`${JSON.stringify(rows, null, 2)}\n`)
  else if (rows.length === 0) print('no certificate has been issued yet\n')
  else
    for (const { serial, kind, names, to, revoked: at } of rows)
      print(
        `${serial}  ${kind} ${names.join(' ')}  to ${to.slice(0, 10)}${at === null ? '' : `, revoked ${at.slice(0, 10)}`}\n`,
      )
  return 0
}
