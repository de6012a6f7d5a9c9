import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseTls } from '../../../config/tls-options.ts'
import { identityOf } from '../../../server/tls/certificate-identity.ts'
import { readCredentials } from '../../../server/tls/credentials.ts'
import { run } from '../launch.ts'

const cert = (...words: string[]) => run(['cert', ...words])

t.test('an authority issues, lists and revokes certificates that the server takes', async (t) => {
  const d = t.testdir({})
  const ca = join(d, 'ca')
  const made = await cert('ca', ca, '--name', 'The course')
  t.equal(made.status, 0)
  t.match(made.stdout, /ca\.pem is the authority.*overlayd cert issue .*\/ca server NAME/s)
  t.equal(statSync(ca).mode & 0o777, 0o700)
  t.equal(statSync(join(ca, 'ca.key')).mode & 0o777, 0o600)
  t.match(
    (await cert('issue', ca, 'server', 'files.example.org', '192.0.2.7', '--out', d)).stdout,
    /server-files\.example\.org\.pem/,
  )
  for (const name of ['alice', 'Zoë x']) t.equal((await cert('issue', ca, 'user', name)).status, 0, name)
  t.equal((await cert('issue', ca, 'machine', 'lab', '--days', '7')).status, 0)
  t.equal(statSync(join(ca, 'user-alice.key')).mode & 0o777, 0o600)

  const authority = new X509Certificate(readFileSync(join(ca, 'ca.pem')))
  const alice = new X509Certificate(readFileSync(join(ca, 'user-alice.pem')))
  const lab = new X509Certificate(readFileSync(join(ca, 'machine-lab.pem')))
  t.match(authority.subject, 'The course')
  t.ok(alice.verify(authority.publicKey) && alice.checkIssued(authority))
  t.same(identityOf(alice), { kind: 'user', name: 'alice' })
  t.same(identityOf(lab), { kind: 'machine', name: 'lab' })
  t.same(identityOf(new X509Certificate(readFileSync(join(ca, 'user-Zo%C3%AB%20x.pem')))), {
    kind: 'user',
    name: 'Zoë x',
  })

  const pair = `${join(d, 'server-files.example.org.pem')},${join(d, 'server-files.example.org.key')}`
  const read = () =>
    readCredentials(
      {
        own: parseTls(pair, (path) => path),
        clientCa: join(ca, 'ca.pem'),
        clients: 'request',
        revoked: join(ca, 'revoked.pem'),
      },
      Date.now(),
      async () => ({ cert: '', key: '' }),
    )
  const before = await read()
  t.equal(before.own.subjectAltName, 'DNS:files.example.org, IP Address:192.0.2.7')
  t.equal(before.revocations.has(alice), false)
  t.match((await cert('revoke', ca, 'user', 'alice')).stdout, /^revoked [0-9a-f]{32} in .*revoked\.pem/)
  t.match((await cert('revoke', ca, lab.serialNumber)).stdout, /^revoked/)
  const after = await read()
  t.equal(after.revocations.has(alice), true)
  t.equal(after.revocations.size, 2)

  const rows = JSON.parse((await cert('list', ca, '--json')).stdout)
  t.same(
    rows
      .map(({ kind, names, revoked }: { kind: string; names: string[]; revoked: string | null }) => [
        ...[kind, names.join(' '), revoked !== null],
      ])
      .sort(),
    [
      ['machine', 'lab', true],
      ['server', 'files.example.org 192.0.2.7', false],
      ['user', 'Zoë x', false],
      ['user', 'alice', true],
    ],
  )
  t.match((await cert('list', ca)).stdout, /user alice {2}to .*, revoked 20/)
  t.same(
    readdirSync(ca).filter((name) => /new|lock/.test(name)),
    [],
  )
})

t.test('what cannot be is refused, and changes nothing', async (t) => {
  const d = t.testdir({ plain: 'x' })
  const ca = join(d, 'ca')
  await cert('ca', ca)
  const key = readFileSync(join(ca, 'ca.key'), 'latin1')
  for (const [words, message] of [
    [['ca', ca], /has an authority already; choose another directory/],
    [['ca', join(d, 'plain')], /cannot (read|write to) .*plain/],
    [['issue', join(d, 'none'), 'user', 'x'], /has no authority; make one with overlayd cert ca/],
    [['issue', ca, 'user', 'a/b'], /contains a slash/],
    [['issue', ca, 'server', 'a b'], /neither a host name nor an address/],
    [['issue', ca, 'user', 'a', 'b'], /a user has one name; remove "b"/],
    [['issue', ca, 'boss', 'a'], /issue needs a kind and a name/],
    [['issue', ca, 'user', 'a', '--days', '0'], /--days: "0" is not a number of days/],
    [['issue', ca, 'user', 'a', '--days', '9999'], /--days: the authority ends on .*; use fewer days/],
    [['revoke', ca, 'user', 'a'], /no certificate of the user a was issued; see overlayd cert list/],
    [['revoke', ca, '00'], /no certificate of serial 00/],
    [['frob', ca], /word after cert/],
    [['list'], /list needs the directory of the authority/],
  ] as const) {
    const { status, stderr, stdout } = await cert(...words)
    t.equal(status, 2, words.join(' '))
    t.match(stderr, message)
    t.equal(stdout, '')
  }
  t.equal(readFileSync(join(ca, 'ca.key'), 'latin1'), key)
  t.same(readdirSync(join(ca, 'issued')), [])
})

t.test(
  'after a crash of ca there is no authority yet, and ca makes one; a lock of a dead process does not count',
  async (t) => {
    const d = t.testdir({ ca: { 'ca.key': 'half', 'revoked.pem': 'half', issued: {} } })
    const ca = join(d, 'ca')
    t.match((await cert('list', ca)).stderr, /has no authority/)
    t.equal((await cert('ca', ca)).status, 0)
    t.equal((await cert('issue', ca, 'user', 'alice')).status, 0)
    writeFileSync(join(ca, 'lock'), '999999999')
    t.equal((await cert('revoke', ca, 'user', 'alice')).status, 0)
    t.notOk(existsSync(join(ca, 'lock')))
    await cert('issue', ca, 'user', 'bob')
    writeFileSync(join(ca, 'lock'), String(process.pid))
    t.match(
      (await cert('revoke', ca, 'user', 'bob')).stderr,
      new RegExp(`process ${process.pid} is changing .*; try again`),
    )
    mkdirSync(join(d, 'x'))
  },
)
