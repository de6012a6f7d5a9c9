import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { MOUNT, NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import { ROOT, standOn } from '../../../helpers/overlay.ts'
import { type Auth, authSys, NO_AUTH, RpcClient, type XdrReader, XdrWriter } from '../../../helpers/rpc-client.ts'
import { tmpfs } from '../../../helpers/tmpfs.ts'
import { withNfs } from '../nfs-fixture.ts'

t.test('MNT gives the handle of the root, and AUTH_SYS as the way in', async (t) => {
  await withNfs(t, [{}], async ({ client }) => {
    const { status, handle, flavors } = await client.mnt('/overlay')
    t.equal(status, STATUS.OK)
    t.equal(handle.length, 36)
    t.same(flavors, [1])
    t.equal((await client.getattr(handle)).attr?.type, 2)
  })
})

t.test('MNT takes the path with slashes and dots too many, and from a client without credential', async (t) => {
  await withNfs(t, [{ 'a/b/': '' }], async ({ client, root, connect }) => {
    for (const path of ['/overlay/', '//overlay', '/./overlay/.']) t.same((await client.mnt(path)).handle, root)
    const b = await client.walk(root, 'a/b')
    for (const path of ['/overlay/a/b', '/overlay//a/./b/']) t.same((await client.mnt(path)).handle, b)
    t.same((await (await connect(NO_AUTH)).mnt('/overlay')).handle, root)
  })
})

t.test('MNT refuses what is not a directory of the export', async (t) => {
  await withNfs(t, [{ file: '', link: '-> /', 'dir/': '' }], async ({ client }) => {
    const cases: [path: string, status: number][] = [
      ['/', STATUS.NOENT],
      ['', STATUS.NOENT],
      ['overlay', STATUS.NOENT],
      ['/other', STATUS.NOENT],
      ['/overlayx', STATUS.NOENT],
      ['/overlay/absent', STATUS.NOENT],
      ['/overlay/file', STATUS.NOTDIR],
      ['/overlay/file/x', STATUS.NOTDIR],
      ['/overlay/link', STATUS.ACCES],
      ['/overlay/..', STATUS.INVAL],
      ['/overlay/dir/../..', STATUS.INVAL],
      [`/overlay/${'n'.repeat(256)}`, STATUS.NAMETOOLONG],
    ]
    for (const [path, status] of cases) t.equal((await client.mnt(path)).status, status, path)
    await t.rejects(client.mnt(`/${'n'.repeat(1024)}`), /GARBAGE_ARGS/)
  })
})

t.test('MNT follows symlinks inside the export, and never out of it', async (t) => {
  const tree = {
    'a/b/c/': '',
    'a/file': '',
    toB: '-> a/b',
    'a/b/toC': '-> ./c/',
    'a/b/up': '-> ../../a//b/toC/.',
    absolute: '-> /overlay/toB/c',
    root: '-> /overlay',
    loop: '-> loop',
    dangling: '-> a/absent',
    toFile: '-> a/file',
    through: '-> a/file/../b',
    out: '-> ../a',
    'a/b/far': '-> ../../../../etc',
    etc: '-> /etc',
    other: '-> /other/a',
    again: `-> ${'a/../'.repeat(800)}a`,
    twice: `-> again/../${'a/../'.repeat(700)}again`,
    'a/dotdot': '-> ..',
  }
  await withNfs(t, [tree], async ({ client, root }) => {
    const [b, c] = [await client.walk(root, 'a/b'), await client.walk(root, 'a/b/c')]
    const found: [path: string, handle: Uint8Array][] = [
      ['toB', b],
      ['toB/c', c],
      ['toB/toC', c],
      ['a/b/up', c],
      ['absolute', c],
      ['root/toB', b],
      ['a/dotdot', root],
      ['a/dotdot/a/b', b],
      ['again/b', b],
    ]
    for (const [path, handle] of found) {
      const answer = await client.mnt(`/overlay/${path}`)
      t.same([answer.status, answer.handle], [STATUS.OK, handle], path)
    }
    const refused: [path: string, status: number][] = [
      ['loop', STATUS.INVAL],
      ['dangling', STATUS.NOENT],
      ['toFile', STATUS.NOTDIR],
      ['through', STATUS.NOTDIR],
      ['out', STATUS.ACCES],
      ['a/b/far', STATUS.ACCES],
      ['etc', STATUS.ACCES],
      ['other', STATUS.ACCES],
      ['twice', STATUS.NAMETOOLONG],
    ]
    for (const [path, status] of refused) t.equal((await client.mnt(`/overlay/${path}`)).status, status, path)
  })
})

t.test('MNT goes only where its caller may: behind it tells no names and gives no handles', async (t) => {
  const tree = { 'secret/': { mode: 0o700 }, 'secret/known/': '', 'open/': { mode: 0o755 }, 'open/dir/': '' }
  const test = async (who: string, auth: Auth, rules: string, status: number) =>
    withNfs(
      t,
      [tree],
      async ({ connect }) => {
        const client = await connect(auth)
        t.equal((await client.mnt('/overlay/secret')).status, STATUS.OK, `${who}: the name itself is no secret`)
        for (const path of ['/overlay/secret/known', '/overlay/secret/./known/']) {
          const answer = await client.mnt(path)
          t.equal(answer.status, status, `${who}: ${path}`)
          if (status !== STATUS.OK) t.equal(answer.handle.length, 0)
        }
        const absent = status === STATUS.OK ? STATUS.NOENT : status
        t.equal((await client.mnt('/overlay/secret/absent')).status, absent, `${who}: as for a name that is not there`)
        t.equal((await client.mnt('/overlay/open/dir')).status, STATUS.OK, who)
      },
      { rules, mounts: false },
    )
  await test('root', authSys(0, 0), '127.0.0.1(rw,no_root_squash,insecure)', STATUS.OK)
  await test('root that is squashed', authSys(0, 0), '127.0.0.1(rw,root_squash,insecure)', STATUS.ACCES)
  await test('a user', authSys(1000, 1000), '127.0.0.1(rw,no_root_squash,insecure)', STATUS.ACCES)
  await test('nobody', NO_AUTH, '127.0.0.1(rw,no_root_squash,insecure)', STATUS.ACCES)
  await test('all squashed to root', NO_AUTH, '*(rw,all_squash,anonuid=0,anongid=0,insecure)', STATUS.OK)
})

t.test(
  'MNT and LOOKUP answer on a full upper; that handles are not noted is said once, and when they are again',
  async (t) => {
    const base = tmpfs(t)
    standOn({ base })
    t.teardown(() => standOn({}))
    await withNfs(
      t,
      [{ file: 'content', 'a/b/': '' }],
      async ({ client, server, complaints, overlay, connect }) => {
        // More names than one page of the log still takes.
        const names = Array.from({ length: 300 }, (_, i) => `${i}-${'x'.repeat(200)}`)
        for (const name of names) await overlay.create(ROOT, overlay.root, name, { mode: 0o644 })
        execFileSync('mount', ['-o', 'remount,size=1m', base])
        const filler = join(base, 'filler')
        t.throws(() => writeFileSync(filler, Buffer.alloc(2 * 1024 * 1024)), { code: 'ENOSPC' })
        const root = (await (await connect()).mnt('/overlay')).handle
        t.equal(root.length, 36)
        t.equal((await client.mnt('/overlay/a/b')).status, STATUS.OK)
        for (const name of names) t.equal((await client.lookup(root, name)).status, STATUS.OK)
        const file = (await client.lookup(root, 'file')).handle!
        t.equal((await client.read(file, 0, 100)).data.toString(), 'content')
        const said = () => complaints.filter((line) => line.includes('on disk'))
        t.equal(said().length, 1, 'said once')
        t.ok(server.counters.handlesNotNoted! > 1, 'and counted')
        for (const name of names.slice(0, 200)) t.equal((await client.remove(root, name)).status, STATUS.OK)
        rmSync(filler)
        t.equal((await client.mnt('/overlay/a')).status, STATUS.OK)
        t.match(said(), [/cannot save/, /again/])
      },
      { nfs: {} },
    )
  },
)

t.test('DUMP lists the mounts until UMNT or UMNTALL', async (t) => {
  await withNfs(t, [{ 'a/': '', 'b/': '' }], async ({ client }) => {
    const dump = async (): Promise<string[]> => {
      const reader = await client.rpc.call([MOUNT, 3, 2], client.auth)
      return all(reader, () => `${reader.string()} ${reader.string()}`)
    }
    t.same(await dump(), ['127.0.0.1 /overlay'])
    await client.mnt('/overlay/a')
    await client.mnt('/overlay/b')
    t.same(await dump(), ['127.0.0.1 /overlay', '127.0.0.1 /overlay/a', '127.0.0.1 /overlay/b'])
    await call(client, 3, new XdrWriter().string('/overlay/a').bytes())
    t.same(await dump(), ['127.0.0.1 /overlay', '127.0.0.1 /overlay/b'])
    await call(client, 4)
    t.same(await dump(), [])
  })
})

t.test('DUMP shows a client its own mounts only, and root of this machine all', async (t) => {
  await withNfs(
    t,
    [{ 'a/': '' }],
    async ({ server }) => {
      const from = async (address: string, localPort?: number) => {
        const client = new NfsClient(await RpcClient.connect(server.port, localPort, address))
        t.teardown(() => client.close())
        return client
      }
      const dump = async ({ rpc, auth }: NfsClient) => {
        const reader = await rpc.call([MOUNT, 3, 2], auth)
        return all(reader, () => `${reader.string()} ${reader.string()}`).length
      }
      const [one, two, outsider] = [await from('127.0.0.2'), await from('127.0.0.3'), await from('127.0.1.4')]
      for (const path of ['/overlay', '/overlay/a']) await one.mnt(path)
      await two.mnt('/overlay')
      t.same([await dump(one), await dump(two), await dump(outsider)], [2, 1, 0])
      if (process.geteuid?.() === 0) t.equal(await dump(await from('127.0.1.1', 915)), 4, 'with that of the fixture')
    },
    { rules: '127.0.0.0/24(insecure)' },
  )
})

t.test('EXPORT shows outsiders nothing', async (t) => {
  await withNfs(
    t,
    [{}],
    async ({ server }) => {
      const outsider = await RpcClient.connect(server.port, undefined, '127.0.1.4')
      t.same(
        all(await outsider.call([MOUNT, 3, 5], NO_AUTH), () => 'an export'),
        [],
      )
      await outsider.close()
    },
    { rules: '127.0.0.1(insecure)' },
  )
})

t.test('the list of mounts stays bounded', async (t) => {
  await withNfs(t, [{}], async ({ client }) => {
    for (let i = 0; i < 1100; i++)
      await client.mnt(`/overlay${'/'.repeat(i % 1000)}${'/.'.repeat(Math.floor(i / 1000))}`)
    const reader = await client.rpc.call([MOUNT, 3, 2], client.auth)
    t.ok(reader.bytes.length <= 64 * 1024 + 24)
    t.ok(all(reader, () => reader.string() + reader.string()).length > 0)
  })
})

t.test('EXPORT lists the exports with their clients', async (t) => {
  await withNfs(
    t,
    [{}],
    async ({ client }) => {
      const reader = await client.rpc.call([MOUNT, 3, 5], client.auth)
      const exports = all(reader, () => ({ path: reader.string(), clients: reader.list(() => reader.string()) }))
      t.same(exports, [{ path: '/overlay', clients: ['127.0.0.1', '10.0.0.0/8', '*'] }])
      await call(client, 0)
    },
    { rules: '127.0.0.1(insecure) 10.0.0.0/8(rw) *' },
  )
})

function all<T>(reader: XdrReader, read: () => T): T[] {
  const items = reader.list(read)
  reader.end()
  return items
}

/** Makes a call that answers nothing. */
async function call(client: NfsClient, procedure: number, args?: Buffer): Promise<void> {
  const reader = await client.rpc.call([MOUNT, 3, procedure], client.auth, args)
  reader.end()
}
