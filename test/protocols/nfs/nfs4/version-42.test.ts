import t from 'tap'
import { ANONYMOUS, Nfs4TestClient, op, sizeOf } from '../../../helpers/nfs4-client.ts'
import { withNfs } from '../nfs-fixture.ts'

const STATUS = { NXIO: 6, INVAL: 22, BAD_STATEID: 10025, NOTSUPP: 10004, NOXATTR: 10095, EXIST: 17 }
const MIB = 1024 * 1024
const DATA = 0
const HOLE = 1

t.test('holes are found and made, in a file of a lower too', async (t) => {
  await withNfs(t, [{ file: 'x'.repeat(MIB) }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const root = await client.handle('/overlay')
    const file = await client.run(op.putfh(root), op.lookup('file'), op.getfh())
    const seek = (offset: number, what: number) => client.run(op.putfh(file), op.seek(ANONYMOUS, offset, what))
    t.same(await seek(0, DATA), { eof: false, offset: 0n }, 'a lower')
    t.same(await seek(0, HOLE), { eof: true, offset: BigInt(MIB) })
    t.equal(await client.status(op.putfh(file), op.seek(ANONYMOUS, MIB, DATA)), STATUS.NXIO)
    const DEALLOCATE = 62
    await client.run(op.putfh(file), op.allocate(ANONYMOUS, 65_536, 131_072, DEALLOCATE))
    t.same(await seek(0, HOLE), { eof: false, offset: 65_536n }, 'copied up, with a hole')
    t.same(await seek(70_000, DATA), { eof: false, offset: 196_608n })
    t.equal((await client.run(op.putfh(file), op.getattr(4))).bytes.readBigUInt64BE(), BigInt(MIB), 'the size stays')
    const { data } = await client.run(op.putfh(file), op.read(ANONYMOUS, 65_530, 10))
    t.equal(data.toString(), 'xxxxxx\0\0\0\0')
    await client.run(op.putfh(file), op.allocate(ANONYMOUS, 0, 2 * MIB))
    t.equal((await client.run(op.putfh(file), op.getattr(4))).bytes.readBigUInt64BE(), BigInt(2 * MIB), 'it grows')
    t.equal(await client.status(op.putfh(file), op.allocate(ANONYMOUS, 0, 0)), STATUS.INVAL)
    await client.close()
  })
})

t.test('a range is copied within the server', async (t) => {
  await withNfs(t, [{ source: '0123456789', target: '' }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const root = await client.handle('/overlay')
    const source = await client.run(op.putfh(root), op.lookup('source'), op.getfh())
    const from = (await client.run(op.putfh(source), op.open('me', { access: 1 }))).stateid
    const opened = await client.run(op.putfh(root), op.open('me', { name: 'new', create: 'guarded' }))
    const target = await client.run(op.putfh(root), op.lookup('new'), op.getfh())
    const files = [op.putfh(source), op.savefh(), op.putfh(target)]
    const copy = (range: { from: number; to: number; count: number }) => op.copy(from, opened.stateid, range)
    t.equal(await client.run(...files, copy({ from: 2, to: 5, count: 4 })), 4n)
    t.equal(await client.run(...files, copy({ from: 8, to: 0, count: 0 })), 2n, 'to the end')
    t.equal((await client.run(op.putfh(target), op.read(ANONYMOUS, 0, 20))).data.toString(), '89\0\0\x002345')
    t.equal(await client.status(...files, copy({ from: 5, to: 0, count: 10 })), STATUS.INVAL, 'beyond the end')
    t.equal(await client.status(...files, op.copy(ANONYMOUS, from, { from: 0, to: 0, count: 1 })), STATUS.BAD_STATEID)
    const same = [op.putfh(target), op.savefh()]
    const overlapping = op.copy(opened.stateid, opened.stateid, { from: 0, to: 1, count: 4 })
    t.equal(await client.status(...same, overlapping), STATUS.INVAL)
    await client.close()
  })
})

t.test('extended attributes of the user', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const root = await client.handle('/overlay')
    const file = op.putfh(await client.run(op.putfh(root), op.lookup('file'), op.getfh()))
    await client.run(file, op.setxattr('one', 'first'))
    await client.run(file, op.setxattr('two', 'second', 1))
    t.equal(await client.status(file, op.setxattr('two', 'again', 1)), STATUS.EXIST)
    t.equal(await client.status(file, op.setxattr('three', 'again', 2)), STATUS.NOXATTR)
    t.equal(await client.run(file, op.getxattr('one')), 'first')
    t.same((await client.run(file, op.listxattrs())).sort(), ['one', 'two'])
    await client.run(file, op.removexattr('one'))
    t.equal(await client.status(file, op.getxattr('one')), STATUS.NOXATTR)
    t.equal(await client.status(file, op.removexattr('one')), STATUS.NOXATTR)
    t.equal(await client.status(file, op.getxattr('')), STATUS.INVAL)
    t.equal(await client.status(file, { number: 70 }), STATUS.NOTSUPP, 'WRITE_SAME')
    const before = await client.run(file, op.getattr(3))
    await client.run(file, op.setattr(ANONYMOUS, [sizeOf(0)]))
    t.notSame(await client.run(file, op.getattr(3)), before, 'the change attribute')
    await client.close()
  })
})
