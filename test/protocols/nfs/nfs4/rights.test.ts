import t from 'tap'
import {
  ANONYMOUS,
  type Listing,
  modeOf,
  Nfs4Failure,
  Nfs4TestClient,
  op,
  ownerOf,
  sizeOf,
} from '../../../helpers/nfs4-client.ts'
import { authSys, NO_AUTH } from '../../../helpers/rpc-client.ts'
import { withNfs } from '../nfs-fixture.ts'

const STATUS = { PERM: 1, NOENT: 2, ACCESS: 13, ROFS: 30, BADOWNER: 10039, OPENMODE: 10038 }
const lower = {
  'dir/file': { content: 'x', mode: 0o600 },
  'dir/open': { content: 'y', mode: 0o666 },
  'dir/': { mode: 0o777 },
}

t.test('root is nobody unless the export says otherwise', async (t) => {
  await withNfs(
    t,
    [lower],
    async ({ server }) => {
      for (const auth of [authSys(0, 0), NO_AUTH, authSys(1000, 1000)]) {
        const client = await Nfs4TestClient.start(server.port, { auth })
        const dir = await client.handle('/overlay/dir')
        t.equal(await client.status(op.putfh(dir), op.open('me', { name: 'file', access: 1 })), STATUS.ACCESS)
        t.equal(await client.status(op.putfh(dir), op.lookup('file'), op.read(ANONYMOUS, 0, 1)), STATUS.ACCESS)
        t.equal(await client.status(op.putfh(dir), op.lookup('open'), op.read(ANONYMOUS, 0, 1)), 0)
        const setting = [modeOf(0o777)]
        t.equal(await client.status(op.putfh(dir), op.lookup('file'), op.setattr(ANONYMOUS, setting)), STATUS.PERM)
        await client.close()
      }
    },
    { rules: '127.0.0.1(rw,insecure)' },
  )
})

t.test('a read-only export is not changed', async (t) => {
  await withNfs(
    t,
    [lower],
    async ({ server }) => {
      const client = await Nfs4TestClient.start(server.port)
      const dir = await client.handle('/overlay/dir')
      const status = (...operations: Parameters<Nfs4TestClient['compound']>[0]) =>
        client.status(op.putfh(dir), ...operations)
      t.equal(await status(op.open('me', { name: 'file' })), STATUS.ROFS)
      t.equal(await status(op.open('me', { name: 'new', create: 'unchecked', access: 1 })), STATUS.ROFS)
      t.equal(await status(op.open('me', { name: 'file', access: 1 })), 0)
      t.equal(await status(op.create(2, 'new')), STATUS.ROFS)
      t.equal(await status(op.remove('file')), STATUS.ROFS)
      t.equal(await status(op.savefh(), op.rename('file', 'other')), STATUS.ROFS)
      t.equal(await status(op.lookup('file'), op.setattr(ANONYMOUS, [modeOf(0)])), STATUS.ROFS)
      t.equal(await status(op.lookup('file'), op.write(ANONYMOUS, 0, 'z')), STATUS.ROFS)
      t.equal(await status(op.lookup('file'), op.setxattr('a', 'b')), STATUS.ROFS)
      t.equal(await status(op.lookup('file'), op.allocate(ANONYMOUS, 0, 10)), STATUS.ROFS)
      t.equal((await client.run(op.putfh(dir), op.access(0x3f))).granted, 3)
      await client.close()
    },
    { rules: '127.0.0.1(ro,no_root_squash,insecure)' },
  )
})

t.test('a machine to which nothing is exported learns of no export, and nothing is kept of it', async (t) => {
  await withNfs(
    t,
    [lower],
    async ({ server }) => {
      const client = await Nfs4TestClient.connect(server.port, { minor: 0 })
      const names = await client.bare([op.putrootfh(), op.readdir([1])])
      t.same((names.answers[1]!.value as Listing).entries, [])
      t.equal((await client.bare([op.putrootfh(), op.lookup('overlay')])).status, STATUS.NOENT)
      const later = await Nfs4TestClient.connect(server.port)
      await t.rejects(later.exchangeId('a client'), new Nfs4Failure(STATUS.ACCESS, 42))
      await later.close()
      await client.close()
    },
    { rules: '10.1.2.3(rw)', mounts: false },
  )
})

t.test('owners are numbers, and what is opened for reading is not written', async (t) => {
  await withNfs(t, [lower], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const dir = await client.handle('/overlay/dir')
    const status = (...operations: Parameters<Nfs4TestClient['compound']>[0]) =>
      client.status(op.putfh(dir), ...operations)
    for (const owner of ['nobody', 'root@localdomain', '-1', '4294967295', '']) {
      t.equal(await status(op.lookup('file'), op.setattr(ANONYMOUS, [ownerOf(owner)])), STATUS.BADOWNER, owner)
    }
    t.equal(await status(op.lookup('file'), op.setattr(ANONYMOUS, [ownerOf('1234')])), 0)
    const { bytes } = await client.run(op.putfh(dir), op.lookup('file'), op.getattr(36))
    t.equal(bytes.toString('latin1', 4, 8), '1234')
    const { stateid } = await client.run(op.putfh(dir), op.open('me', { name: 'file', access: 1 }))
    t.equal(await status(op.lookup('file'), op.write(stateid, 0, 'z')), STATUS.OPENMODE)
    t.equal(await status(op.lookup('file'), op.setattr(stateid, [sizeOf(0)])), STATUS.OPENMODE)
    await client.close()
  })
})
