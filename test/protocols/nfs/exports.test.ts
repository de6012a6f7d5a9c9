import t from 'tap'
import { parseExport } from '../../../protocols/nfs/index.ts'

const DEFAULTS = {
  readOnly: true,
  squash: 'root',
  anonUid: 65534,
  anonGid: 65534,
  secure: true,
  sync: true,
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
    },
  ])
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
    ['127.0.0.1 (rw)', /'\(rw\)' has no client: no space may stand before/],
    ['127.0.0.1(rw', /'127.0.0.1\(rw' is not CLIENT/],
    ['127.0.0.1(rw)x', /is not CLIENT/],
    ['localhost(rw)', /'localhost' is not a client; valid are an IP address, a network such as/],
    ['1.2.3(rw)', /'1.2.3' is not a client/],
    ['10.0.0.0/33', /'10.0.0.0\/33' is not a client/],
    ['10.0.0.0/', /is not a client/],
    ['fd00::/129', /is not a client/],
    ['*(rw,no_subtree_check)', /unknown option 'no_subtree_check'; valid are rw, ro, root_squash, .*anonuid=N/],
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
