import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { parseNetwork } from '../../config/proxy-options.ts'
import { PublicNames } from '../../server/public-names.ts'

function names(publicUrls: string[], proxies: string[]): PublicNames {
  return new PublicNames({ publicUrls, trustedProxies: proxies.map((text) => parseNetwork('--trusted-proxy', text)) })
}

function request(remoteAddress: string, headers: Record<string, string>): IncomingMessage {
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage
}

t.test('a declared name is ours whoever asks, whatever the case and the port that goes without saying', (t) => {
  const own = names(['https://files.example.org', 'http://intra.example:8088'], [])
  const anybody = request('203.0.113.9', {})
  for (const authority of ['files.example.org', 'Files.Example.ORG:443', 'intra.example:8088']) {
    t.equal(own.isOurs(authority, anybody), true, authority)
    t.equal(own.isDeclared(authority), true, authority)
  }
  for (const authority of ['example.org', 'files.example.org.evil', 'intra.example', 'files.example.org:8443', '']) {
    t.equal(own.isOurs(authority, anybody), false, authority)
  }
  t.end()
})

t.test('what a trusted proxy reports is ours, in any of the fields and forms', (t) => {
  const own = names([], ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'])
  const reports: [Record<string, string>, string][] = [
    [{ 'x-forwarded-host': 'a.example' }, 'a.example'],
    [{ 'x-forwarded-host': 'a.example:8443' }, 'a.example:8443'],
    [{ 'x-forwarded-host': 'a.example', 'x-forwarded-port': '8443' }, 'a.example:8443'],
    [{ 'x-forwarded-host': '[2001:db8::5]', 'x-forwarded-port': '8443' }, '[2001:db8::5]:8443'],
    [{ forwarded: 'for=192.0.2.1;host=a.example;proto=https' }, 'a.example'],
    [{ forwarded: 'For="[2001:db8:1::1]:4711"; Host="a.example:8443"' }, 'a.example:8443'],
  ]
  for (const from of ['127.0.0.1', '::ffff:127.0.0.1', '10.200.3.4', '2001:db8:7::1']) {
    for (const [headers, authority] of reports) t.equal(own.isOurs(authority, request(from, headers)), true, authority)
  }
  for (const from of ['127.0.0.2', '11.0.0.1', '::1', '2001:db9::1', '']) {
    for (const [headers, authority] of reports) t.equal(own.isOurs(authority, request(from, headers)), false, from)
  }
  t.end()
})

t.test('of a chain only what trusted proxies have added counts: the client may have begun it', (t) => {
  const own = names([], ['10.0.0.1', '10.0.0.2'])
  const chain = request('10.0.0.1', {
    forwarded:
      'for=198.51.100.7;host=forged.example, for=203.0.113.5;host=outer.example, for=10.0.0.2;host=inner.example',
  })
  t.equal(own.isOurs('inner.example', chain), true)
  t.equal(own.isOurs('outer.example', chain), true, 'said by 10.0.0.2')
  t.equal(own.isOurs('forged.example', chain), false)
  const old = request('10.0.0.1', {
    'x-forwarded-for': '198.51.100.7, 203.0.113.5, 10.0.0.2',
    'x-forwarded-host': 'forged.example, outer.example, inner.example',
  })
  t.equal(own.isOurs('inner.example', old), true)
  t.equal(own.isOurs('outer.example', old), true)
  t.equal(own.isOurs('forged.example', old), false)
  const quoted = request('10.0.0.1', { forwarded: 'host="a,b;c";for=1.2.3.4, host=real.example' })
  t.equal(own.isOurs('real.example', quoted), true, 'commas inside quotes are no separators')
  t.end()
})

t.test(
  'a client is counted by what the proxy reports, and cannot choose its address with the field that the proxy passes on',
  (t) => {
    const own = names([], ['10.0.0.1', '10.0.0.2'])
    const counted = (from: string, headers: Record<string, string>) => own.clientOf(request(from, headers))
    t.equal(counted('203.0.113.5', { 'x-forwarded-for': '198.51.100.7' }), '203.0.113.5', 'not a proxy')
    t.equal(counted('10.0.0.1', {}), '10.0.0.1')
    t.equal(counted('10.0.0.1', { 'x-forwarded-for': '198.51.100.7, 203.0.113.5, 10.0.0.2' }), '203.0.113.5')
    t.equal(counted('10.0.0.1', { forwarded: 'for=198.51.100.7, for="203.0.113.5:4711"' }), '203.0.113.5')
    for (const forged of ['for=198.51.100.7', 'for=198.51.100.8', 'for=unknown', 'nonsense'])
      t.equal(counted('10.0.0.1', { forwarded: forged, 'x-forwarded-for': '203.0.113.5' }), '10.0.0.1', forged)
    t.equal(counted('10.0.0.1', { forwarded: 'for=203.0.113.5', 'x-forwarded-for': '198.51.100.7' }), '10.0.0.1')
    t.equal(counted('10.0.0.1', { forwarded: 'for=203.0.113.5', 'x-forwarded-for': '203.0.113.5' }), '203.0.113.5')
    t.end()
  },
)

t.test('what makes no sense reports nothing, and quickly', (t) => {
  const own = names([], ['127.0.0.1'])
  const junk = [
    ',,;;==',
    '"'.repeat(60_000),
    'host="'.repeat(9000),
    'host='.repeat(9000),
    `host="${'\\'.repeat(60_000)}`,
  ]
  const start = performance.now()
  for (const forwarded of junk) t.equal(own.isOurs('a.example', request('127.0.0.1', { forwarded })), false)
  t.ok(performance.now() - start < 500)
  t.end()
})
