import t from 'tap'
import { MOUNT, type NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import { NO_AUTH, type XdrReader, XdrWriter } from '../../../helpers/rpc-client.ts'
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
      ['/overlay/link', STATUS.NOTDIR],
      ['/overlay/..', STATUS.INVAL],
      ['/overlay/dir/../..', STATUS.INVAL],
      [`/overlay/${'n'.repeat(256)}`, STATUS.NAMETOOLONG],
    ]
    for (const [path, status] of cases) t.equal((await client.mnt(path)).status, status, path)
    await t.rejects(client.mnt(`/${'n'.repeat(1024)}`), /GARBAGE_ARGS/)
  })
})

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
