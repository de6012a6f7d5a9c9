import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseTls, type TlsSettings } from '../../../config/tls-options.ts'
import { readCredentials } from '../../../server/tls/credentials.ts'
import { EXPIRED, TestAuthority, writePair } from '../../helpers/certificates.ts'

const authority = await TestAuthority.make()
const other = await TestAuthority.make('Another authority')
const good = await authority.server()

const DEFAULTS: Omit<TlsSettings, 'own'> = { clientCa: undefined, clients: 'request', revoked: undefined }

function read(tls: string, more: Partial<TlsSettings> = {}) {
  const own = parseTls(tls, (path) => path)
  return readCredentials({ own, ...DEFAULTS, ...more }, Date.now(), async () => good)
}

/** Checks that a message names the file and says how to mend it. */
async function refused(t: Test, tls: string, message: RegExp, more: Partial<TlsSettings> = {}) {
  await t.rejects(read(tls, more), { name: 'OptionError', message })
}

t.test('a certificate with its key is read, from two files or one', async (t) => {
  const d = t.testdir({ 'both.pem': good.cert + good.key })
  t.match((await read(writePair(d, 'server', good))).own.subject, /localhost/)
  t.match((await read(join(d, 'both.pem'))).own.subject, /localhost/)
  t.equal((await read('self-signed')).cert, good.cert)
})

t.test('wrong files are refused with their name and the mend', async (t) => {
  const d = t.testdir({ 'empty.pem': '', 'cut.pem': good.cert.slice(0, 300), 'damaged.pem': damaged(good.cert) })
  const path = (name: string) => join(d, name)
  const pair = writePair(d, 'server', good)
  const key = path('server.key')
  await refused(t, `${path('none.pem')},${key}`, /--tls.*cannot read .*none\.pem \(ENOENT\); name an existing file/)
  await refused(t, `${d},${key}`, /cannot read .*EISDIR.*; let the user/)
  await refused(t, `${path('empty.pem')},${key}`, /empty\.pem contains no certificate in PEM form.*openssl x509/)
  await refused(t, `${path('cut.pem')},${key}`, /cut\.pem ends in the middle of a certificate; copy/)
  await refused(t, `${path('damaged.pem')},${key}`, /certificate 1 in .*damaged\.pem is damaged or cut; copy/)
  await refused(t, path('server.pem'), /server\.pem contains no private key.*after the comma/)
  writePair(d, 'foreign', await authority.server())
  await refused(
    t,
    `${path('server.pem')},${path('foreign.key')}`,
    /foreign\.key does not belong to .*server\.pem; name/,
  )
  await refused(
    t,
    writePair(d, 'expired', await authority.server(['x'], EXPIRED)),
    /expired\.pem expired on 20.*replace/,
  )
  const later = await authority.server(['x'], { fromMs: Date.now() + 9e8, days: 30 })
  await refused(t, writePair(d, 'later', later), /later\.pem is valid only from 20.*clock/)
  await refused(t, writePair(d, 'ca', authority.issued), /ca\.pem starts with the certificate of an authority.*issue/)
  writeFileSync(path('locked.key'), execFileSync('openssl', ['pkey', '-in', key, '-aes128', '-passout', 'pass:abcd']))
  await refused(
    t,
    `${path('server.pem')},${path('locked.key')}`,
    /locked\.key is encrypted; decrypt it with openssl pkey/,
  )
  t.ok(await read(pair))
})

t.test('an RSA key that is too short, and one that is not', async (t) => {
  const d = t.testdir({})
  for (const bits of [512, 2048]) {
    const name = join(d, `rsa${bits}.pem`)
    const request = ['req', '-x509', '-newkey', `rsa:${bits}`, '-nodes', '-keyout', name, '-out', `${name}.crt`]
    execFileSync('openssl', [...request, '-subj', '/CN=x', '-addext', 'basicConstraints=CA:FALSE'], { stdio: 'ignore' })
    if (bits === 2048) t.ok(await read(`${name}.crt,${name}`))
    else await refused(t, `${name}.crt,${name}`, /rsa512\.pem\.crt cannot be used \(.*key too small.*issue a new one/)
  }
})

t.test('an authority that is a leaf, or out of date, is refused', async (t) => {
  const d = t.testdir({ 'leaf.pem': good.cert, 'ca.pem': authority.cert })
  const pair = writePair(d, 'server', good)
  await refused(
    t,
    pair,
    /--tls-client-ca.*leaf\.pem contains the certificate of CN=localhost, which is not an authority; name/,
    {
      clientCa: join(d, 'leaf.pem'),
    },
  )
  t.equal((await read(pair, { clientCa: join(d, 'ca.pem') })).authorities.length, 1)
})

t.test('a list of revoked certificates counts only if the authority has signed it', async (t) => {
  const alice = await authority.client('user', 'alice')
  const bob = await authority.client('user', 'bob')
  const d = t.testdir({
    'ca.pem': authority.cert,
    'revoked.pem': await authority.revoke(alice),
    'none.pem': await authority.revoke(),
    'foreign.pem': await other.revoke(alice),
    'same-name.pem': await (await TestAuthority.make()).revoke(alice),
    'cut.pem': (await authority.revoke(alice)).slice(0, 200),
  })
  const pair = writePair(d, 'server', good)
  const clientCa = join(d, 'ca.pem')
  const { X509Certificate } = await import('node:crypto')
  const { revocations } = await read(pair, { clientCa, revoked: join(d, 'revoked.pem') })
  t.equal(revocations.size, 1)
  t.equal(revocations.has(new X509Certificate(alice.cert)), true)
  t.equal(revocations.has(new X509Certificate(bob.cert)), false)
  t.equal((await read(pair, { clientCa, revoked: join(d, 'none.pem') })).revocations.size, 0)
  for (const name of ['foreign.pem', 'same-name.pem'])
    await refused(t, pair, /--tls-revoked.*no authority in --tls-client-ca has signed; name/, {
      clientCa,
      revoked: join(d, name),
    })
  await refused(t, pair, /cut\.pem contains no complete list.*overlayd cert revoke/, {
    clientCa,
    revoked: join(d, 'cut.pem'),
  })
})

/** The same length and frame, with other bytes inside. */
function damaged(pem: string): string {
  const lines = pem.split('\n')
  lines[2] = 'A'.repeat((lines[2] as string).length)
  return lines.join('\n')
}
