import { chmodSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, BIN, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('each user has a view of the same material, over NFS and WebDAV', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t)
  const daemon = nfs.as(DAEMON.uid)
  const bin = nfs.as(BIN.uid)
  const own = await daemon.mount('/course/daemon')
  t.equal(own.length, 40, 'a handle with a view of 64 bits')
  const made = await daemon.create(own, 'mine', { mode: 'guarded' })
  t.equal(made.status, STATUS.OK)
  await daemon.write(made.handle!, 0, Buffer.from('of daemon'), 2)
  const other = await bin.mount('/course/bin')
  t.equal((await bin.lookup(other, 'mine')).status, STATUS.NOENT, 'another user does not see the change')
  t.equal((await bin.lookup(other, 'welcome.txt')).status, STATUS.OK, 'but the material')

  t.match(await dav('GET', '/course/~daemon/mine'), { status: 200, body: 'of daemon' })
  t.match(await dav('GET', '/course/~bin/mine'), { status: 404 })
  t.match(await dav('PUT', '/course/~bin/mine', { body: 'of bin' }), { status: 201 })
  t.match(await dav('GET', '/course/~daemon/mine'), { status: 200, body: 'of daemon' })
  const file = (await bin.lookup(other, 'mine')).handle!
  t.equal((await bin.read(file, 0, 100)).data.toString(), 'of bin', 'both doors lead to the same view')
  t.equal((await bin.getattr(file)).attr?.uid, BIN.uid, 'what is written over WebDAV belongs to the user')

  const views = readdirSync(join(dir, 'views')).filter((name) => /^[0-9a-f]{16}$/.test(name))
  t.equal(views.length, 2)
  const uppers = views.map((id) => statSync(join(dir, 'views', id, 'upper')))
  t.same(uppers.map(({ uid }) => uid).sort(), [DAEMON.uid, BIN.uid], 'each upper belongs to its user')
  t.equal(statSync(join(dir, 'views', views[0] as string)).mode & 0o777, 0o700, 'which others cannot reach directly')
  t.equal((await nfs.mnt('/course/nobody-has-this-name')).status, 2, 'a user without an account has no view')
})

t.test('views and their handles outlive the server', AS_ROOT, async (t) => {
  const first = await course(t)
  const daemon = first.nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const made = await daemon.create(root, 'kept', { mode: 'guarded' })
  await daemon.write(made.handle!, 0, Buffer.from('kept'), 2)
  const material = (await daemon.lookup(root, 'welcome.txt')).handle!
  await first.nfs.close()
  t.equal(await first.server.stop(), 0)
  const second = await course(t, { dir: first.dir })
  const again = second.nfs.as(DAEMON.uid)
  t.equal((await again.read(made.handle!, 0, 10)).data.toString(), 'kept')
  t.equal((await again.read(material, 0, 10)).data.toString(), 'welcome')
  t.match(await second.dav('GET', '/course/~daemon/kept'), { status: 200, body: 'kept' })
  t.equal((await run(['status', '--state-dir', join(first.dir, 'state')])).status, 0)
})

t.test('without a login nobody acts as root over WebDAV', AS_ROOT, async (t) => {
  const { dir, dav } = await course(t)
  chmodSync(join(dir, 'material', 'welcome.txt'), 0o600)
  for (const method of ['GET', 'PROPFIND', 'PUT']) {
    t.match(await dav(method, '/course/~root/welcome.txt'), { status: 404 }, `${method} in the view of root`)
  }
  t.match(await dav('GET', '/course/~daemon/welcome.txt'), { status: 403 })
  t.notMatch((await dav('GET', '/course/', { headers: { accept: 'text/html' } })).body, /root/)
})

t.test('a configuration with as = root lets WebDAV act as root', AS_ROOT, async (t) => {
  const { dir, dav } = await course(t, { as: 'root' })
  chmodSync(join(dir, 'material', 'welcome.txt'), 0o600)
  t.match(await dav('GET', '/course/welcome.txt'), { status: 200, body: 'welcome' })
})

t.test('the list of views contains a template before anybody has a view', async (t) => {
  const { dav } = await course(t)
  t.match((await dav('PROPFIND', '/', { headers: { depth: '1' } })).body, '<D:href>/course/</D:href>')
  t.match((await dav('GET', '/')).body, 'course')
})

t.test('views that a client was told of outlive a kill while others are made and removed', AS_ROOT, async (t) => {
  let all = await course(t, { more: 'create = true\nowner = "1:1"' })
  const { dir } = all
  const known = new Map<string, Buffer>()
  for (let round = 0; round < 4; round++) {
    const { nfs, server } = all
    const enough = Promise.withResolvers<void>()
    let told = 0
    const making = Array.from({ length: 20 }, async (_, i) => {
      const name = `user${round}-${i}`
      const root = await nfs.mount(`/course/${name}`)
      known.set(name, root)
      if (++told === 3 + 4 * round) enough.resolve()
    })
    const settled = Promise.allSettled(making)
    await enough.promise
    await server.stop('SIGKILL')
    await settled
    all = await course(t, { dir })
    for (const [name, root] of known) {
      t.same(await all.nfs.mount(`/course/${name}`), root, name)
      t.equal((await all.nfs.as(1).lookup(root, 'welcome.txt')).status, STATUS.OK)
    }
    const removed = `user${round}-${0}`
    const handle = known.get(removed)
    if (handle === undefined) continue
    await run(['view', 'remove', `course/${removed}`, '--yes', '--state-dir', join(dir, 'state')])
    known.delete(removed)
    t.equal((await all.nfs.getattr(handle)).status, STATUS.STALE)
  }
  t.notMatch(all.server.stderr(), /belongs to no view/)
})

t.test('with owner_squash everybody acts as the owner of the view, and nobody as root', AS_ROOT, async (t) => {
  const { nfs, dav } = await course(t, { clients: '127.0.0.0/8(rw,owner_squash,insecure)' })
  for (const [uid, user, owner] of [
    [4711, 'daemon', DAEMON.uid],
    [0, 'bin', BIN.uid],
  ] as const) {
    const somebody = nfs.as(uid)
    const root = await somebody.mount(`/course/${user}`)
    const made = await somebody.create(root, `by-${uid}`, { mode: 'guarded' })
    t.equal(made.status, STATUS.OK)
    t.equal((await somebody.getattr(made.handle!)).attr?.uid, owner, `${uid} acts as ${user}`)
    t.match(await dav('GET', `/course/~${user}/by-${uid}`), { status: 200 })
  }
  const list = await nfs.as(4711).mount('/course')
  const names = (await nfs.as(4711).readdir(list)).entries.map(({ name }) => String(name))
  t.same(names.filter((name) => !name.startsWith('.')).sort(), ['bin', 'daemon'], 'the list leads to all views')
  t.equal((await nfs.as(4711).lookup(list, 'daemon')).status, STATUS.OK)
  const refused = await nfs.as(4711).create(list, 'in-the-list', { mode: 'guarded' })
  t.not(refused.status, STATUS.OK, 'outside the views there is no owner')
})
