import t from 'tap'
import { ANONYMOUS, modeOf, Nfs4TestClient, type Op, op } from '../helpers/nfs4-client.ts'
import { authSys } from '../helpers/rpc-client.ts'
import { AS_ROOT, BIN, course, DAEMON } from './course.ts'

// Nobody reaches the view of another user by version 4 either.

t.setTimeout(120_000)

const STATUS = { NOENT: 2, ACCESS: 13, XDEV: 18, BAD_STATEID: 10025, BADHANDLE: 10001 }

t.test('a view is reached by its owner alone, and mounted by root', AS_ROOT, async (t) => {
  const { server } = await course(t)
  const as = (uid: number) => Nfs4TestClient.start(server.nfsPort as number, { auth: authSys(uid, uid) })
  const [daemon, bin, root, nobody] = await Promise.all([DAEMON.uid, BIN.uid, 0, 65_534].map(as))
  const view = await daemon!.handle('/course/daemon')
  const opened = await daemon!.run(
    op.putfh(view),
    op.open('me', { name: 'secret', create: 'guarded', setting: [modeOf(0o666)] }),
  )
  const file = await daemon!.run(op.putfh(view), op.lookup('secret'), op.getfh())
  await daemon!.run(op.putfh(file), op.write(opened.stateid, 0, 'secret'))
  await daemon!.run(op.putfh(view), op.create(2, 'dir', [modeOf(0o777)]))
  const dir = await daemon!.run(op.putfh(view), op.lookup('dir'), op.getfh())
  const own = await bin!.handle('/course/bin')

  const inView: Op[] = [
    ...[op.lookup('secret'), op.readdir([1]), op.create(2, 'x'), op.remove('secret'), op.lookupp()],
    ...[op.open('me', { name: 'secret' }), op.open('me', { name: 'x', create: 'unchecked' })],
    ...[op.setattr(ANONYMOUS, [modeOf(0o777)]), op.listxattrs()],
  ]
  for (const other of [bin!, root!, nobody!]) {
    const path = [op.putrootfh(), op.lookup('course')]
    const mounts = other === root
    t.equal(await other.status(...path, op.lookup('daemon')), mounts ? 0 : STATUS.NOENT)
    for (const each of inView)
      t.equal(await other.status(op.putfh(view), each), STATUS.ACCESS, `operation ${each.number}`)
    t.equal((await other.run(op.putfh(view), op.access(0x3f))).granted, 0)
    for (const handle of [file, dir]) t.equal(await other.status(op.putfh(handle), op.getattr(1)), STATUS.ACCESS)
    t.equal(await other.status(op.putfh(file), op.read(opened.stateid, 0, 10)), STATUS.ACCESS)
    const { entries } = await other.run(...path, op.readdir([1]))
    t.same(
      entries.map(({ name }) => name).filter((name) => name === 'daemon'),
      [],
    )
  }
  t.equal(await bin!.status(op.putfh(own), op.read(opened.stateid, 0, 10)), 21)
  t.equal(await bin!.status(op.putfh(own), op.savefh(), op.putfh(view), op.link('x')), STATUS.ACCESS)
  const both = await daemon!.run(op.putrootfh(), op.lookup('course'), op.getfh())
  t.equal(await daemon!.status(op.putfh(file), op.savefh(), op.putfh(both), op.link('x')), STATUS.XDEV)
  const forged = Buffer.from(file)
  forged[forged.length - 1]! ^= 1
  t.equal(await daemon!.status(op.putfh(forged)), STATUS.BADHANDLE)
  t.equal((await daemon!.run(op.putfh(file), op.read(opened.stateid, 0, 10))).data.toString(), 'secret')
  for (const client of [daemon!, bin!, root!, nobody!]) await client.close()
})
