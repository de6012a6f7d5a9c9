import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { alternativeNames, identityOf, identityUri } from '../../../server/tls/certificate-identity.ts'
import { TestAuthority } from '../../helpers/certificates.ts'

const of = (subjectAltName: string) => identityOf({ subjectAltName })

t.test('a certificate names its user or machine, whatever the characters', async (t) => {
  const authority = await TestAuthority.make()
  for (const name of ['alice', 'Zoë', 'o’neill, URI:overlayd:user', 'a+b@example.org', "it's (me)!", 'dc-7']) {
    const { cert } = await authority.client('user', name)
    t.same(identityOf(new X509Certificate(cert)), { kind: 'user', name }, name)
  }
  const { cert } = await authority.client('machine', 'build7')
  t.same(identityOf(new X509Certificate(cert)), { kind: 'machine', name: 'build7' })
  t.equal(identityUri({ kind: 'user', name: 'ü/*' }), 'overlayd:user/%C3%BC%2F%2A')
})

t.test('a certificate that names nobody, several, or nobody who can have a view, is nobody', async (t) => {
  for (const text of [
    '',
    'DNS:alice',
    'email:alice@example.org',
    'URI:overlayd:user/',
    'URI:overlayd:admin/alice',
    'URI:overlayd:user/alice/x',
    'URI:overlayd:user/..',
    'URI:overlayd:user/%2E%2E',
    'URI:overlayd:user/a%2Fb',
    'URI:overlayd:user/%00',
    'URI:overlayd:user/%ff',
    'URI:overlayd:user/%zz',
    'URI:OVERLAYD:user/alice',
    'URI:overlayd:user/alice, URI:overlayd:user/bob',
    'URI:overlayd:user/alice, URI:overlayd:machine/m',
    'URI:https://example.org/overlayd:user/alice',
  ])
    t.equal(of(text), undefined, text)
})

t.test('a name with separators in it is one name', async (t) => {
  const tricky = 'URI:"https://x, URI:overlayd:user/root, DNS:y", URI:overlayd:user/alice'
  t.same(alternativeNames(tricky), ['URI:https://x, URI:overlayd:user/root, DNS:y', 'URI:overlayd:user/alice'])
  t.same(of(tricky), { kind: 'user', name: 'alice' })
  t.equal(of('DNS:"a\\", URI:overlayd:user/root, DNS:b"'), undefined)
  t.same(alternativeNames('IP Address:10.0.0.1, DNS:a'), ['IP Address:10.0.0.1', 'DNS:a'])
})
