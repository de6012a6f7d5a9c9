import t from 'tap'
import { parseExport } from '../../../../protocols/nfs/index.ts'

const DEFAULTS = {
  readOnly: true,
  squash: 'root',
  anonUid: 65534,
  anonGid: 65534,
  secure: true,
  sync: true,
  insecureLocks: false,
}

t.test('a client without options has the defaults of exports(5)', async (t) => {
  t.same(parseExport('10.0.0.1'), [{ client: '10.0.0.1', ...DEFAULTS }])
  t.same(parseExport('*()'), [{ client: '*', ...DEFAULTS }])
})

t.test('each option sets what it says, the last one wins', async (t) => {
  t.same(parseExport('127.0.0.1(rw,no_root_squash,insecure,async,anonuid=5,anongid=6)'), [
    {
      client: '127.0.0.1',
      readOnly: false,
      squash: 'none',
      anonUid: 5,
      anonGid: 6,
      secure: false,
      sync: false,
      insecureLocks: false,
    },
  ])
  for (const word of ['insecure_locks', 'no_auth_nlm']) t.match(parseExport(`*(${word})`), [{ insecureLocks: true }])
  for (const word of ['secure_locks', 'auth_nlm'])
    t.match(parseExport(`*(insecure_locks,${word})`), [{ insecureLocks: false }])
  t.match(parseExport('*(rw,ro,all_squash,insecure,secure,async,sync)'), [{ ...DEFAULTS, squash: 'all' }])
  t.match(parseExport('*(all_squash,root_squash)'), [{ squash: 'root' }])
})

t.test('several clients, IPv4 and IPv6, addresses and networks', async (t) => {
  t.same(
    parseExport('  192.168.0.0/24(rw)\t10.1.2.3 fd00::/8(ro) ::1 * ').map(({ client }) => client),
    ['192.168.0.0/24', '10.1.2.3', 'fd00::/8', '::1', '*'],
  )
})

t.test('a mistake is named in one line, with what is valid', async (t) => {
  const cases: [text: string, message: RegExp][] = [
    ['', /no client given/],
    ['   ', /no client given/],
    ['127.0.0.1 (rw)', /'\(rw\)' has no client; remove the space before/],
    ['127.0.0.1(rw', /'127.0.0.1\(rw' is malformed; use CLIENT/],
    ['127.0.0.1(rw)x', /is malformed; use CLIENT/],
    ['local_host/24(rw)', /'local_host\/24' is not a client; use an IP address, a network such as/],
    ['-bad-(rw)', /unknown option 'bad-\(rw\)'/],
    ['a..b', /is not a client/],
    ['10.0.0.0/255.0.255.0', /'10.0.0.0\/255.0.255.0' is not a client/],
    ['fd00::/255.0.0.0', /is not a client/],
    ['@trusted(rw)', /'@trusted' is a netgroup, which is not supported; use its hosts or their network/],
    ['*.example.com(rw)', /reverse DNS, which clients can forge; use a network/],
    ['192.168.*(rw)', /reverse DNS/],
    ['host?(rw)', /reverse DNS/],
    ['*(sec=krb5)', /'sec=krb5' is not supported/],
    ['-rw,sync', /no client given/],
    ['1.2.3(rw)', /'1.2.3' is not a client/],
    ['10.0.0.0/33', /'10.0.0.0\/33' is not a client/],
    ['10.0.0.0/', /is not a client/],
    ['fd00::/129', /is not a client/],
    ['*(rw,fsid=0)', /unknown option 'fsid=0'; use one of rw, ro, root_squash, .*anonuid=N/],
    ['*(constructor)', /unknown option 'constructor'/],
    ['*(anonuid=x)', /'anonuid=x' needs a number from 0 to 4294967294/],
    ['*(anongid=4294967295)', /'anongid=4294967295' needs a number/],
    ['*(anonuid=)', /'anonuid=' needs a number/],
  ]
  for (const [text, message] of cases) {
    t.throws(() => parseExport(text), { message }, text)
    try {
      parseExport(text)
    } catch (error) {
      t.notMatch(String(error), '\n')
    }
  }
})

t.test('host names, netmasks, and defaults for the clients that follow', async (t) => {
  t.same(
    parseExport('build-7 Host.Example.COM 10.0.0.0/255.255.254.0 0.0.0.0/0.0.0.0 10.0.0.1/255.255.255.255').map(
      ({ client }) => client,
    ),
    ['build-7', 'host.example.com', '10.0.0.0/23', '0.0.0.0/0', '10.0.0.1/32'],
  )
  t.match(parseExport('-rw,async,no_subtree_check 10.0.0.1 10.0.0.2(ro,sync) -no_root_squash 10.0.0.3'), [
    { client: '10.0.0.1', readOnly: false, sync: false, squash: 'root' },
    { client: '10.0.0.2', readOnly: true, sync: true },
    { client: '10.0.0.3', readOnly: false, sync: false, squash: 'none' },
  ])
  t.match(parseExport('*(all_squash,no_all_squash,sec=sys,wdelay,crossmnt)'), [{ squash: 'root' }])
})

t.test('xprtsec as in exports(5)', async (t) => {
  const of = (options: string) => parseExport(`*(${options})`)[0]?.xprtsec
  t.equal(of('rw'), undefined)
  t.same(of('xprtsec=mtls:tls'), ['tls', 'mtls'])
  t.same(of('xprtsec=none'), ['none'])
  t.same(
    parseExport('-xprtsec=tls 10.0.0.1 10.0.0.2(xprtsec=none:tls:mtls)').map(({ xprtsec }) => xprtsec),
    [['tls'], ['none', 'tls', 'mtls']],
  )
  for (const wrong of ['xprtsec=', 'xprtsec=ssl', 'xprtsec=tls,xprtsec=x', 'xprtsec=tls::mtls'])
    t.throws(() => parseExport(`*(${wrong})`), /is not understood; use xprtsec=none, tls or mtls/, wrong)
})
