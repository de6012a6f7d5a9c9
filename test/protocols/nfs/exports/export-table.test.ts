import t from 'tap'
import { ClientMatcher } from '../../../../protocols/nfs/exports/client-matcher.ts'
import { parseExport } from '../../../../protocols/nfs/exports/export-rules.ts'
import { squash } from '../../../../protocols/nfs/exports/export-table.ts'
import { HostNames } from '../../../../protocols/nfs/exports/host-names.ts'
import { Credential } from '../../../../protocols/nfs/rpc/credential.ts'
import { NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import { authSys, NO_AUTH } from '../../../helpers/rpc-client.ts'
import { withNfs } from '../nfs-fixture.ts'
import { recordingLog } from '../recording-log.ts'

t.test('the rule with the longest prefix counts, of equal ones the first', async (t) => {
  const matcher = new ClientMatcher(
    parseExport('* 10.0.0.0/8 10.1.0.0/16(rw) 10.1.2.3(ro,sync) 10.1.2.3(rw) ::/0 fd00::/8(rw) fd00::1'),
  )
  const client = (address: string): string | undefined => matcher.find(address)?.client
  t.equal(client('10.1.2.3'), '10.1.2.3')
  t.equal(matcher.find('10.1.2.3')?.readOnly, true)
  t.equal(client('10.1.2.4'), '10.1.0.0/16')
  t.equal(client('10.2.0.1'), '10.0.0.0/8')
  t.equal(client('192.168.1.1'), '*')
  t.equal(client('fd00::1'), 'fd00::1')
  t.equal(client('fd12::1'), 'fd00::/8')
  t.equal(client('2001:db8::1'), '::/0')
  t.equal(new ClientMatcher(parseExport('10.0.0.0/8')).find('11.0.0.1'), undefined)
})

t.test('squashing maps root, everybody or nobody to the anonymous user', async (t) => {
  const rule = (options: string) => parseExport(`*(${options},anonuid=9,anongid=8)`)[0]
  const root = new Credential(1, 0, 0, [0, 5])
  const alice = new Credential(1, 1000, 100, [0, 27])
  const none = new Credential(0, 0, 0, [])
  const minusOne = new Credential(1, 0xffff_ffff, 0, [])
  t.same(squash(root, rule('root_squash')), { uid: 9, gid: 8, groups: [8, 5] })
  t.same(squash(alice, rule('root_squash')), { uid: 1000, gid: 100, groups: [8, 27] })
  t.same(squash(root, rule('no_root_squash')), { uid: 0, gid: 0, groups: [0, 5] })
  t.same(squash(alice, rule('all_squash')), { uid: 9, gid: 8, groups: [] })
  t.same(squash(none, rule('no_root_squash')), { uid: 9, gid: 8, groups: [] }, 'AUTH_NONE is nobody')
  t.same(squash(minusOne, rule('no_root_squash')), { uid: 9, gid: 8, groups: [] })
})

t.test('root is squashed on the wire, and many users of one connection stay apart', async (t) => {
  const tree = { secret: { content: 's', mode: 0o600 }, 'open/': { mode: 0o777 } }
  await withNfs(
    t,
    [tree],
    async ({ client, root }) => {
      t.equal((await client.read(await client.walk(root, 'secret'), 0, 1)).status, STATUS.ACCES)
      const open = await client.walk(root, 'open')
      const owners = await Promise.all(
        Array.from({ length: 40 }, async (_, i) => (await client.as(i, i + 1).create(open, `f${i}`)).attr),
      )
      t.same(
        owners.map((attr) => [attr?.uid, attr?.gid]),
        Array.from({ length: 40 }, (_, i) => (i === 0 ? [65534, 1] : [i, i + 1])),
      )
      client.auth = NO_AUTH
      t.match((await client.create(open, 'nobody')).attr, { uid: 65534, gid: 65534 })
    },
    { rules: '127.0.0.1(rw,insecure)' },
  )
})

t.test('a client without a rule is refused at MNT and with a handle it got elsewhere', async (t) => {
  await withNfs(
    t,
    [{ file: '' }],
    async ({ client, overlay }) => {
      t.equal((await client.mnt('/overlay')).status, STATUS.ACCES)
      const { HandleCodec } = await import('../../../../protocols/nfs/exports/file-handle.ts')
      const { NfsExport } = await import('../../../../protocols/nfs/exports/export-table.ts')
      const { HANDLE_KEY } = await import('../nfs-fixture.ts')
      const view = new NfsExport({ name: 'overlay', overlay, rules: [] }, 0)
      const root = Buffer.from(new HandleCodec(HANDLE_KEY).encode(view, overlay.root))
      t.equal((await client.getattr(root)).status, STATUS.ACCES)
      t.equal((await client.lookup(root, 'file')).status, STATUS.ACCES)
      t.equal((await client.create(root, 'new')).status, STATUS.ACCES)
    },
    { rules: '10.0.0.0/8(rw,insecure)' },
  )
})

t.test('a secure rule takes only calls from ports below 1024', async (t) => {
  await withNfs(
    t,
    [{}],
    async ({ client, connect }) => {
      t.equal((await client.mnt('/overlay')).status, STATUS.ACCES)
      if (process.getuid?.() !== 0) return t.comment('ports below 1024 are for root')
      const privileged = await connect(authSys(0, 0), await freePrivilegedPort())
      t.equal((await privileged.mnt('/overlay')).status, STATUS.OK)
    },
    { rules: '127.0.0.1(rw)' },
  )
})

async function freePrivilegedPort(): Promise<number> {
  const { createServer } = await import('node:net')
  for (let port = 1023; port > 600; port--) {
    const probe = createServer()
    const free = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
  throw new Error('no port below 1024 is free')
}

t.test('a host name stands for its addresses of now, and is as narrow as an address', async (t) => {
  let addresses = ['127.0.0.1', '::1']
  const hosts = new HostNames(async (name) => {
    if (name !== 'client' || addresses.length === 0) throw new Error(`${name} is not known`)
    return addresses
  }, recordingLog().log)
  const matcher = new ClientMatcher(parseExport('127.0.0.0/8 client(rw) stranger(rw)'), (name) =>
    hosts.addressesOf(name),
  )
  t.equal(matcher.find('127.0.0.1')?.client, '127.0.0.0/8', 'before it was looked up')
  await hosts.start()
  t.equal(matcher.find('127.0.0.1')?.client, 'client')
  t.equal(matcher.find('::1')?.client, 'client')
  addresses = ['127.0.0.2']
  await hosts.refresh()
  t.equal(matcher.find('127.0.0.1')?.client, '127.0.0.0/8')
  t.equal(matcher.find('127.0.0.2')?.client, 'client')
  addresses = []
  await hosts.refresh()
  t.equal(matcher.find('127.0.0.2')?.client, 'client', 'what was known last holds')
  hosts.stop()
})

t.test('only named hosts may mount', async (t) => {
  for (const [address, status] of [
    ['127.0.0.1', 0],
    ['127.0.0.9', 13],
  ] as const) {
    await withNfs(
      t,
      [{}],
      async ({ server }) => {
        const client = await NfsClient.connect(server.port)
        t.equal((await client.mnt('/overlay')).status, status)
        await client.close()
      },
      { rules: 'client(rw,insecure)', nfs: { lookUpHost: async () => [address] }, mounts: false },
    )
  }
})

t.test('with groups looked up here, a user has all of them and none that the client makes up', async (t) => {
  const tree = { 'team/': { mode: 0o770 } }
  const asked: number[] = []
  await withNfs(
    t,
    [tree],
    async ({ client, root }) => {
      const team = await client.walk(root, 'team')
      t.equal((await client.setattr(team, { gid: 5020 })).status, STATUS.OK)
      t.equal((await client.as(1000, 100).create(team, 'member')).status, STATUS.OK, 'the 21st group counts')
      t.equal((await client.as(1001, 100, [5020]).create(team, 'liar')).status, STATUS.ACCES)
      t.equal((await client.as(1002, 100, [5020]).create(team, 'stranger')).status, STATUS.ACCES)
      await Promise.all(Array.from({ length: 20 }, (_, i) => client.as(1000, 100, [i]).getattr(team)))
      t.same(asked.toSorted(), [0, 1000, 1001, 1002], 'each user is looked up once')
    },
    {
      nfs: {
        groupsOf: async (uid) => {
          asked.push(uid)
          if (uid === 1002) return undefined
          return uid === 1000 ? Array.from({ length: 40 }, (_, i) => 5000 + i) : []
        },
      },
    },
  )
})
