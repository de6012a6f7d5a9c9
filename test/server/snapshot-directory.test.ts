import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { ANONYMOUS, Nfs4TestClient, op } from '../helpers/nfs4-client.ts'
import { authSys } from '../helpers/rpc-client.ts'
import { AS_ROOT, BIN, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('users find their snapshots in a hidden directory, over both doors, read-only', AS_ROOT, async (t) => {
  const { dir, nfs, dav, server } = await course(t, { more: 'create = true\nidle = "1s"' })
  const command = (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
  const [daemon, bin] = [nfs.as(DAEMON.uid), nfs.as(BIN.uid)]
  const root = await daemon.mount('/course/daemon')
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'monday' })
  await dav('PUT', '/course/~daemon/notes', { body: 'my notes' })
  await command('snapshot', 'course/daemon', 'monday')
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'tuesday' })
  await dav('DELETE', '/course/~daemon/notes')
  await command('snapshot', 'course/daemon', 'tuesday')

  const names = (await daemon.readdir(root)).entries.map(({ name }) => name)
  t.notOk(names.includes('.snapshot'), 'it is hidden')
  const list = (await daemon.lookup(root, '.snapshot')).handle!
  t.same(
    (await daemon.readdir(list)).entries.map(({ name }) => name).filter((name) => !name.startsWith('.')),
    ['monday', 'tuesday'],
  )
  t.match((await daemon.getattr(list)).attr, { mode: 0o555, uid: DAEMON.uid })
  const monday = (await daemon.lookup(list, 'monday')).handle!
  t.equal((await daemon.lookup(list, 'sunday')).status, STATUS.NOENT)
  const notes = await daemon.walk(monday, 'notes')
  t.equal((await daemon.read(notes, 0, 100)).data?.toString(), 'my notes')
  t.equal((await daemon.read(await daemon.walk(monday, 'sub/a.txt'), 0, 100)).data?.toString(), 'A')
  t.equal((await daemon.write(notes, 0, Buffer.from('x'), 2)).status, STATUS.ROFS)
  t.equal((await daemon.create(list, 'x')).status, STATUS.ROFS)
  t.equal((await bin.lookup(list, 'monday')).status, STATUS.ACCES, 'not for others')
  t.equal((await bin.read(notes, 0, 100)).status, STATUS.ACCES)
  const mounted = await daemon.mount('/course/daemon/.snapshot/tuesday')
  t.equal((await daemon.read(await daemon.walk(mounted, 'welcome.txt'), 0, 100)).data?.toString(), 'tuesday')

  const four = await Nfs4TestClient.start(server.nfsPort!, { auth: authSys(DAEMON.uid, DAEMON.gid) })
  const old = await four.handle('/course/daemon/.snapshot/monday/welcome.txt')
  const { data } = await four.run(op.putfh(old), op.read(ANONYMOUS, 0, 100))
  t.equal(data.toString(), 'monday', 'by NFSv4')
  t.same(
    (await four.run(op.putfh(await four.handle('/course/daemon/.snapshot')), op.readdir([1]))).entries
      .map(({ name }) => name)
      .sort(),
    ['monday', 'tuesday'],
  )
  t.equal(await four.status(op.putfh(old), op.write(ANONYMOUS, 0, 'x')), STATUS.ROFS)
  t.equal(
    await four.status(op.putrootfh(), op.lookup('course'), op.lookup('daemon'), op.lookup('.other')),
    STATUS.NOENT,
  )
  await four.close()
  const other = await Nfs4TestClient.start(server.nfsPort!, { auth: authSys(BIN.uid, BIN.gid) })
  t.equal(await other.status(op.putfh(old), op.read(ANONYMOUS, 0, 100)), STATUS.ACCES, 'by NFSv4 not for others')
  await other.close()

  t.equal((await dav('GET', '/course/~daemon/.snapshot/monday/welcome.txt')).body, 'monday')
  const found = await dav('PROPFIND', '/course/~daemon/.snapshot/', { headers: { depth: '1' } })
  t.equal(found.status, 207)
  t.match(found.body, /~daemon\/\.snapshot\/monday\//)
  t.notMatch((await dav('PROPFIND', '/course/~daemon/', { headers: { depth: '1' } })).body, /\.snapshot/)
  t.equal((await dav('PUT', '/course/~daemon/.snapshot/monday/welcome.txt', { body: 'x' })).status, 403)
  t.equal((await dav('MKCOL', '/course/~daemon/.snapshot/new')).status, 404)
  t.equal((await dav('GET', '/course/~daemon/.snapshot/sunday/welcome.txt')).status, 404)
  const copied = { destination: '/course/~daemon/notes' }
  t.equal((await dav('COPY', '/course/~daemon/.snapshot/monday/notes', { headers: copied })).status, 201)
  t.equal((await dav('GET', '/course/~daemon/notes')).body, 'my notes', 'brought back by its user')

  await new Promise((resolve) => setTimeout(resolve, 3500))
  t.equal((await daemon.read(notes, 0, 100)).data?.toString(), 'my notes', 'the handle is valid after it was closed')
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'wednesday' })
  t.match(await command('snapshot', 'remove', 'course/daemon@monday', '--yes'), { status: 0 })
  t.equal((await daemon.read(notes, 0, 100)).status, STATUS.STALE)
  t.equal((await dav('GET', '/course/~daemon/.snapshot/monday/notes')).status, 404)

  await dav('MKCOL', '/course/~bin/')
  await dav('PUT', '/course/~bin/x', { body: 'x' })
  const ownRoot = await bin.mount('/course/bin')
  const own = await bin.mkdir(ownRoot, '.snapshot')
  t.equal(own.status, STATUS.OK, 'a directory of this name of a user comes first')
  t.equal((await dav('PUT', '/course/~bin/.snapshot/mine', { body: 'mine' })).status, 201)
  t.equal((await dav('GET', '/course/~bin/.snapshot/mine')).body, 'mine')
})
