import t from 'tap'
import { ANONYMOUS, CURRENT, modeOf, Nfs4TestClient, op, ownerOf, sizeOf } from '../../../helpers/nfs4-client.ts'
import { withNfs } from '../nfs-fixture.ts'

const STATUS = {
  NOENT: 2,
  ACCESS: 13,
  EXIST: 17,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  BAD_STATEID: 10025,
  SHARE_DENIED: 10015,
  DENIED: 10010,
}

const lower = { 'dir/file': 'hello', link: '-> dir/file' }

t.test('a client walks from the pseudo-root to a file and reads it', async (t) => {
  await withNfs(t, [lower], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const listed = await client.run(op.putrootfh(), op.readdir([1, 8, 20, 55]))
    t.same(
      listed.entries.map(({ name }) => name),
      ['overlay'],
    )
    const dir = await client.handle('/overlay/dir')
    const names = await client.run(op.putfh(dir), op.readdir([1, 4]))
    t.same(
      names.entries.map(({ name }) => name),
      ['file'],
    )
    t.ok(names.eof)
    const { data, eof } = await client.run(op.putfh(dir), op.lookup('file'), op.read(ANONYMOUS, 0, 100))
    t.equal(data.toString(), 'hello')
    t.ok(eof)
    t.equal(await client.run(op.putrootfh(), op.lookup('overlay'), op.lookup('link'), op.readlink()), 'dir/file')
    t.same(
      await client.run(op.putfh(dir), op.lookupp(), op.lookupp(), op.getfh()),
      await client.run(op.putrootfh(), op.getfh()),
    )
    t.equal(await client.status(op.putrootfh(), op.lookupp()), STATUS.NOENT)
    t.equal(await client.status(op.putfh(dir), op.lookup('absent')), STATUS.NOENT)
    await client.close()
  })
})

t.test('a file is created, written by its stateid, kept when unlinked, and closed', async (t) => {
  await withNfs(t, [lower], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const dir = await client.handle('/overlay/dir')
    const opened = await client.run(
      op.putfh(dir),
      op.open('me', { name: 'new', create: 'guarded', setting: [modeOf(0o444), ownerOf('0')] }),
    )
    t.same(opened.set, [33, 36])
    const handle = await client.run(op.putfh(dir), op.lookup('new'), op.getfh())
    await client.run(op.putfh(handle), op.write(opened.stateid, 0, 'written'))
    t.equal(await client.status(op.putfh(dir), op.open('me', { name: 'new', create: 'guarded' })), STATUS.EXIST)
    await client.run(op.putfh(dir), op.remove('new'))
    t.equal((await client.run(op.putfh(handle), op.read(opened.stateid, 0, 10))).data.toString(), 'written')
    await client.run(op.putfh(handle), op.setattr(opened.stateid, [sizeOf(3)]))
    t.equal((await client.run(op.putfh(handle), op.read(opened.stateid, 0, 10))).data.toString(), 'wri')
    await client.run(op.putfh(handle), op.close(opened.stateid))
    t.not(await client.status(op.putfh(handle), op.read(opened.stateid, 0, 10)), 0)
    await client.close()
  })
})

t.test('the current stateid is that of the OPEN before', async (t) => {
  await withNfs(t, [lower], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const dir = await client.handle('/overlay/dir')
    await client.run(op.putfh(dir), op.open('me', { name: 'file' }), op.write(CURRENT, 5, ' you'), op.close(CURRENT))
    t.equal(
      (await client.run(op.putfh(dir), op.lookup('file'), op.read(ANONYMOUS, 0, 99))).data.toString(),
      'hello you',
    )
    t.equal(await client.status(op.putfh(dir), op.lookup('file'), op.close(CURRENT)), STATUS.BAD_STATEID)
    await client.close()
  })
})

t.test('what one client denies another does not get, and locks conflict', async (t) => {
  await withNfs(t, [lower], async ({ server }) => {
    const one = await Nfs4TestClient.start(server.port)
    const two = await Nfs4TestClient.start(server.port)
    const dir = await one.handle('/overlay/dir')
    const denies = await one.run(op.putfh(dir), op.open('me', { name: 'file', access: 1, deny: 2 }))
    t.equal(await two.status(op.putfh(dir), op.open('you', { name: 'file' })), STATUS.SHARE_DENIED)
    const file = await one.run(op.putfh(dir), op.lookup('file'), op.getfh())
    await one.run(op.putfh(file), op.close(denies.stateid))
    const mine = await one.run(op.putfh(dir), op.open('me', { name: 'file' }))
    const yours = await two.run(op.putfh(dir), op.open('you', { name: 'file' }))
    const range = { offset: 10, length: 10 }
    const lock = await one.run(op.putfh(file), op.lock(mine.stateid, 'process', range))
    const denied = await two.compound([op.putfh(file), op.lockt('process', range)])
    t.equal(denied.status, STATUS.DENIED)
    await one.run(op.putfh(file), op.locku(lock, range))
    t.equal(await two.status(op.putfh(file), op.lock(yours.stateid, 'process', range)), 0)
    await one.close()
    await two.close()
  })
})

t.test('large reads in one COMPOUND come back whole', async (t) => {
  const content = Array.from({ length: 120_000 }, (_, i) => `line ${i}\n`).join('')
  await withNfs(t, [{ big: content }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const big = await client.run(op.putrootfh(), op.lookup('overlay'), op.lookup('big'), op.getfh())
    const sizes = [10, 300_000, 5, 200_001]
    const { status, answers } = await client.compound([
      op.putfh(big),
      ...sizes.map((count, i) => op.read(ANONYMOUS, 1000 * i, count)),
      op.getattr(1, 4),
    ])
    t.equal(status, 0)
    t.equal(answers.length, 6)
    sizes.forEach((count, i) => {
      const { data } = answers[i + 1]!.value as { data: Buffer }
      t.ok(data.toString() === content.slice(1000 * i, 1000 * i + count), `${count} bytes`)
    })
    await client.close()
  })
})
