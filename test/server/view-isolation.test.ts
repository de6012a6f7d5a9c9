import t, { type Test } from 'tap'
import { NFS, NfsClient, PROCEDURES, STATUS } from '../helpers/nfs-client.ts'
import { NlmClient } from '../helpers/nlm-client.ts'
import { authSys, callMessage, parseReply, RpcClient, record, XdrWriter } from '../helpers/rpc-client.ts'
import { AS_ROOT, BIN, type CourseOptions, course, DAEMON } from './course.ts'

// Nobody reaches the view of another user: one test for each way to try.

t.setTimeout(300_000)

const LOCK =
  '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
const TUS = { 'Tus-Resumable': '1.0.0' }

/** A course in which the user daemon has a file with a secret. */
async function secret(t: Test, options?: CourseOptions) {
  const all = await course(t, options)
  const daemon = all.nfs.as(DAEMON.uid)
  const bin = all.nfs.as(BIN.uid)
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.create(root, 'secret', { mode: 'guarded', attr: { mode: 0o666 } })).handle!
  await daemon.write(file, 0, Buffer.from('secret'), 2)
  const dir = (await daemon.mkdir(root, 'dir', { mode: 0o777 })).handle!
  const own = await bin.mount('/course/bin')
  return { ...all, daemon, bin, root, file, dir, own }
}

t.test('by a handle: that of another user is refused by every procedure', AS_ROOT, async (t) => {
  const { daemon, bin, root, file, dir, own, nfs } = await secret(t)
  for (const other of [bin, nfs.as(0), nfs.as(65_534)]) {
    const answers = {
      GETATTR: other.getattr(file),
      SETATTR: other.setattr(file, { mode: 0o777 }),
      LOOKUP: other.lookup(root, 'secret'),
      ACCESS: other.access(root, 1),
      READ: other.read(file, 0, 10),
      WRITE: other.write(file, 0, Buffer.from('x')),
      CREATE: other.create(dir, 'x'),
      MKDIR: other.mkdir(dir, 'x'),
      SYMLINK: other.symlink(dir, 'x', 'y'),
      REMOVE: other.remove(root, 'secret'),
      RMDIR: other.rmdir(root, 'dir'),
      RENAME: other.rename(root, 'secret', root, 'stolen'),
      LINK: other.link(file, dir, 'x'),
      READDIR: other.readdir(root),
      READDIRPLUS: other.readdirplus(root),
      FSSTAT: other.fsstat(file),
      COMMIT: other.commit(file),
    }
    for (const [name, answer] of Object.entries(answers)) t.equal((await answer).status, STATUS.ACCES, name)
  }
  t.equal((await bin.rename(own, 'welcome.txt', dir, 'x')).status, STATUS.ACCES, 'into the view of another user')
  t.equal((await bin.rename(root, 'secret', own, 'x')).status, STATUS.ACCES, 'out of it')
  t.equal((await bin.link(file, own, 'x')).status, STATUS.ACCES, 'a hard link across')
  t.equal((await nfs.as(0).getattr(root)).status, STATUS.OK, 'the attributes of the root, with which clients mount')
  t.equal((await daemon.read(file, 0, 10)).data.toString(), 'secret', 'its user reads it')
  t.not(
    (await daemon.getattr(root)).attr?.fsid,
    (await bin.getattr(own)).attr?.fsid,
    'no client takes two views for one',
  )
})

t.test('by a handle of its own with the number of another view', AS_ROOT, async (t) => {
  const { bin, root, own } = await secret(t)
  const forged = Buffer.from(own)
  root.copy(forged, 4, 4, 12)
  t.equal((await bin.getattr(forged)).status, STATUS.BADHANDLE)
  const narrow = Buffer.concat([Buffer.from([0, 0, 0, 1]), root.subarray(8)])
  t.equal((await bin.getattr(narrow)).status, STATUS.BADHANDLE, 'as a handle of the first version')
})

t.test('by a root that is not squashed: it may use all views, and moves nothing between them', AS_ROOT, async (t) => {
  const { nfs, root, own, file } = await secret(t, { clients: '127.0.0.1(rw,no_root_squash,insecure)' })
  const admin = nfs.as(0)
  t.equal((await admin.read(file, 0, 10)).data.toString(), 'secret')
  t.equal((await admin.rename(root, 'secret', own, 'x')).status, STATUS.XDEV)
  t.equal((await admin.link(file, own, 'x')).status, STATUS.XDEV)
})

t.test('by a name over NFS: paths below the root, the list of views, a name in it', AS_ROOT, async (t) => {
  const { nfs, bin, daemon } = await secret(t)
  t.equal((await bin.mnt('/course/daemon/dir')).status, STATUS.ACCES)
  t.equal((await daemon.mnt('/course/daemon/dir')).status, STATUS.OK)
  for (const path of ['/course/bin/../daemon/dir', '/course/../course/daemon/dir', '/course//daemon//dir'])
    t.not((await bin.mnt(path)).status, STATUS.OK, path)
  const list = await bin.mount('/course')
  for (const how of ['readdir', 'readdirplus'] as const)
    t.same(
      (await bin.list(list, how)).map(({ name }) => name),
      ['.', '..', 'bin'],
      how,
    )
  t.equal((await bin.lookup(list, 'daemon')).status, STATUS.NOENT)
  t.equal((await bin.lookup(list, 'games')).status, STATUS.NOENT, 'a look-up makes no view')
  t.equal((await bin.lookup(list, 'welcome.txt')).status, STATUS.NOENT, 'nor shows what views start from')
  const found = await bin.lookup(list, 'bin')
  t.same(found.handle, await bin.mount('/course/bin'), 'the list leads into the own view')
  t.equal((await bin.create(list, 'x')).status, STATUS.ROFS)
  t.same(
    (await nfs.as(0).list(list)).map(({ name }) => name),
    ['.', '..'],
    'a squashed root sees none',
  )
})

t.test('by a name over WebDAV: from a view, a header or a link into another', AS_ROOT, async (t) => {
  const { dav } = await secret(t)
  await dav('PUT', '/course/~bin/own', { body: 'own' })
  for (const path of [
    '/course/~bin/../~daemon/secret',
    '/course/~bin/%2e%2e/~daemon/secret',
    '/course/~bin%2f..%2f~daemon/secret',
  ])
    t.not((await dav('GET', path)).status, 200, path)
  for (const method of ['COPY', 'MOVE']) {
    const from = await dav(method, '/course/~bin/own', { headers: { destination: '/course/~daemon/secret' } })
    t.equal(from.status, 403, `${method} into another view`)
    const out = await dav(method, '/course/~daemon/secret', { headers: { destination: '/course/~bin/stolen' } })
    t.equal(out.status, 403, `${method} out of it`)
  }
  const tagged = await dav('PUT', '/course/~bin/own', {
    body: 'x',
    headers: { if: '</course/~daemon/secret> (["x"])' },
  })
  t.equal(tagged.status, 412, 'a condition on a resource of another view does not hold')
  const scope =
    '<D:searchrequest xmlns:D="DAV:"><D:basicsearch><D:select><D:allprop/></D:select><D:from><D:scope>' +
    '<D:href>/course/~daemon/</D:href><D:depth>infinity</D:depth></D:scope></D:from></D:basicsearch></D:searchrequest>'
  t.equal((await dav('SEARCH', '/course/~bin/', { body: scope, headers: { 'content-type': 'text/xml' } })).status, 403)
  t.match(await dav('GET', '/course/~daemon/secret'), { status: 200, body: 'secret' })
})

t.test('by a link that points out of the own view', AS_ROOT, async (t) => {
  const { bin, own, dav } = await secret(t)
  await bin.symlink(own, 'up', '../../daemon/secret')
  await bin.symlink(own, 'absolute', '/course/daemon/secret')
  for (const name of ['up', 'absolute']) {
    t.equal((await dav('GET', `/course/~bin/${name}`)).status, 404, name)
    t.not((await bin.mnt(`/course/bin/${name}`)).status, STATUS.OK, name)
  }
})

t.test('by a user whom the listener does not let others name', AS_ROOT, async (t) => {
  const { dav } = await secret(t)
  for (const headers of [{ 'x-forwarded-for': '192.0.2.1' }, { forwarded: 'for=192.0.2.1' }, { via: '1.1 proxy' }])
    t.equal((await dav('GET', '/course/~daemon/secret', { headers: headers as Record<string, string> })).status, 404)
})

t.test('by a user other than that of `as`', AS_ROOT, async (t) => {
  const fixed = await course(t, { as: `${BIN.uid}:${BIN.gid}` })
  t.equal((await fixed.nfs.as(DAEMON.uid).mnt('/course/daemon')).status, STATUS.OK)
  t.equal((await fixed.dav('PUT', '/course/mine', { body: 'of bin' })).status, 201, 'the view of the user of `as`')
  t.equal((await fixed.dav('GET', '/course/~bin/mine')).status, 200)
  t.equal((await fixed.dav('GET', '/course/~daemon/welcome.txt')).status, 404, 'no other view')
  t.notMatch((await fixed.dav('PROPFIND', '/', { headers: { depth: '1' } })).body, /daemon/)
  t.equal(
    (await fixed.dav('PUT', '/course/~$own.docx', { body: 'x' })).status,
    201,
    'a name that starts with ~ is no user',
  )
})

t.test('by a case variant or another form of a name', AS_ROOT, async (t) => {
  const { bin, dav } = await secret(t, { more: 'create = true\nowner = "1:1"' })
  for (const name of ['Daemon', 'DAEMON', '\uff44aemon', 'daemon\0', 'daemon ', ' daemon'])
    t.equal((await bin.mnt(`/course/${Buffer.from(name).toString('latin1')}`)).status, STATUS.NOENT, name)
  for (const name of ['Daemon', 'DAEMON', '%EF%BD%84aemon'])
    t.equal((await dav('GET', `/course/~${name}/secret`)).status, 404, name)
  const composed = Buffer.from('jos\u00e9').toString('latin1')
  const decomposed = Buffer.from('jose\u0301').toString('latin1')
  t.equal((await bin.mnt(`/course/${composed}`)).status, STATUS.OK)
  t.equal((await bin.mnt(`/course/${decomposed}`)).status, STATUS.NOENT)
})

t.test('by a lock: neither NFS nor WebDAV locks reach into another view', AS_ROOT, async (t) => {
  const { nfs, bin, file, own, dav } = await secret(t)
  const range = { handle: file, owner: 'o', svid: 1, offset: 0n, length: 1n }
  const nlm = new NlmClient(nfs.rpc, 'client', authSys(BIN.uid, BIN.gid))
  t.equal(await nlm.lock(range, {}, 'NM_LOCK'), 9, 'NLM4_FAILED')
  const owner = new NlmClient(nfs.rpc, 'client', authSys(DAEMON.uid, DAEMON.gid))
  t.equal(await owner.lock(range, {}, 'NM_LOCK'), 0)
  await bin.create(own, 'secret')
  const locked = await dav('LOCK', '/course/~daemon/secret', { body: LOCK })
  t.equal(locked.status, 200)
  const token = String(locked.headers['lock-token'])
  t.equal((await dav('PUT', '/course/~bin/secret', { body: 'x' })).status, 204, 'the same path in another view is free')
  t.not((await dav('UNLOCK', '/course/~bin/secret', { headers: { 'lock-token': token } })).status, 204)
  const stolen = await dav('PUT', '/course/~bin/secret', { body: 'x', headers: { if: `(${token})` } })
  t.equal(stolen.status, 412, 'a token of another view holds nowhere else')
  t.equal((await dav('PUT', '/course/~daemon/secret', { body: 'x' })).status, 423, 'the lock is in force')
})

t.test(
  'by an entry of the duplicate request cache: the same call of another user gets its own reply',
  AS_ROOT,
  async (t) => {
    const { server, root } = await secret(t)
    const rpc = await RpcClient.connect(server.nfsPort as number)
    t.teardown(() => rpc.close())
    const name = new XdrWriter().opaque(root).string('made').u32(1).u32(0).u32(0).u32(0).u32(0).u32(0).u32(0).bytes()
    const number = [NFS, 3, PROCEDURES.indexOf('CREATE')] as const
    const ask = async (uid: number) => {
      const reply = await rpc.exchange(0x7777, record(callMessage(0x7777, number, authSys(uid, uid), name)))
      return parseReply(reply).results.u32()
    }
    t.equal(await ask(DAEMON.uid), STATUS.OK)
    t.equal(await ask(DAEMON.uid), STATUS.OK, 'a retransmission gets the first reply, not EXIST')
    t.equal(await ask(BIN.uid), STATUS.ACCES)
  },
)

t.test('by a sync token', AS_ROOT, async (t) => {
  const { dav } = await secret(t)
  const sync = (user: string, token: string) =>
    dav('REPORT', `/course/~${user}/`, {
      body: `<D:sync-collection xmlns:D="DAV:"><D:sync-token>${token}</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`,
      headers: { depth: '0' },
    })
  const first = await sync('daemon', '')
  t.match(first, { status: 207, body: /secret/ })
  const token = /<D:sync-token>([^<]*)/.exec(first.body)?.[1] as string
  t.equal((await sync('daemon', token)).status, 207)
  t.match(await sync('bin', token), { status: 403, body: /valid-sync-token/ })
})

t.test('by the id of an upload', AS_ROOT, async (t) => {
  const { dav } = await secret(t)
  const metadata = `filename ${Buffer.from('up').toString('base64')}`
  const create = { ...TUS, 'Upload-Length': '4', 'Upload-Metadata': metadata }
  const made = await dav('POST', '/course/~daemon/', { headers: create })
  const location = String(made.headers.location)
  t.match(location, /^\/course\/~daemon\/up\?upload=/)
  const stolen = location.replace('~daemon', '~bin')
  t.equal((await dav('HEAD', location, { headers: TUS })).status, 200)
  t.equal((await dav('HEAD', stolen, { headers: TUS })).status, 404)
  const piece = { ...TUS, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': '0' }
  t.equal((await dav('PATCH', stolen, { headers: piece, body: 'mine' })).status, 404)
  t.equal((await dav('DELETE', stolen, { headers: TUS })).status, 404)
})

t.test('by the address of another machine', AS_ROOT, async (t) => {
  const { server } = await course(t, { kind: 'per-machine' })
  const from = async (address: string) => {
    const nfs = new NfsClient(await RpcClient.connect(server.nfsPort as number, undefined, address), authSys(0, 0))
    t.teardown(() => nfs.close())
    return nfs
  }
  const one = await from('127.0.0.1')
  const two = await from('127.0.0.2')
  const own = await one.mount('/course/self')
  t.same(await one.mount('/course/127.0.0.1'), own, 'self is the view of the asking address')
  t.notSame(await two.mount('/course/self'), own)
  t.equal((await two.mnt('/course/127.0.0.1/sub')).status, STATUS.ACCES)
  t.equal((await two.lookup(own, 'welcome.txt')).status, STATUS.ACCES)
  t.equal((await one.lookup(own, 'welcome.txt')).status, STATUS.OK)
  t.equal((await two.mnt('/course/127.0.0.3')).status, STATUS.NOENT, 'nobody makes the view of another machine')
  t.same(
    (await two.list(await two.mount('/course'))).map(({ name }) => name),
    ['.', '..', '127.0.0.2'],
  )
})

t.test('mandatory WebDAV locks bind the NFS clients of the same view only', AS_ROOT, async (t) => {
  const { daemon, bin, file, own, dav } = await secret(t, { webdav: 'locks = "mandatory"' })
  const other = (await bin.create(own, 'secret')).handle!
  t.equal((await dav('LOCK', '/course/~daemon/secret', { body: LOCK })).status, 200)
  t.equal((await daemon.write(file, 0, Buffer.from('x'))).status, STATUS.ACCES)
  t.equal((await bin.write(other, 0, Buffer.from('x'))).status, STATUS.OK)
})

t.test('nobody takes the places of all others for resumable uploads', AS_ROOT, async (t) => {
  const { dav } = await course(t)
  const create = async (user: string, i: number) => {
    const metadata = `filename ${Buffer.from(`up${i}`).toString('base64')}`
    const headers = { ...TUS, 'Upload-Length': '4', 'Upload-Metadata': metadata }
    return await dav('POST', `/course/~${user}/`, { headers })
  }
  const took = async (user: string) => {
    for (let i = 0; i < 300; i++) {
      const { status, body } = await create(user, i)
      if (status === 201) continue
      t.match({ status, body }, { status: 503, body: /too many uploads in progress; complete or terminate some/ })
      return i
    }
    return 300
  }
  t.equal(await took('daemon'), 50, 'a quarter')
  t.equal((await create('bin', 0)).status, 201)
})
