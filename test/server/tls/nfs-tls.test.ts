import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import t, { type Test } from 'tap'
import { EXPIRED, TestAuthority, writePair } from '../../helpers/certificates.ts'
import { type Handle, MOUNT, NfsClient, STATUS } from '../../helpers/nfs-client.ts'
import { createSession, Nfs4TestClient, op } from '../../helpers/nfs4-client.ts'
import { NLM, NLM_STATUS, NlmClient } from '../../helpers/nlm-client.ts'
import { authSys, callMessage, record, type XdrWriter } from '../../helpers/rpc-client.ts'
import { AS_ROOT, BIN, type Course, type CourseOptions, course, DAEMON } from '../course.ts'
import { run } from '../launch.ts'

t.setTimeout(300_000)

const STALE_CLIENTID = 10022
const BADSESSION = 10052

const authority = await TestAuthority.make()
const other = await TestAuthority.make('Another authority')
const [server, daemon, bin, unknown, lab, mail] = await Promise.all([
  authority.server(),
  authority.client('user', 'daemon'),
  authority.client('user', 'bin'),
  authority.client('user', 'nobody-has-this-name'),
  authority.client('machine', 'lab'),
  authority.client('user', 'x', { names: [{ type: 'email', value: 'daemon@example.org' }] }),
])
const none = await authority.revoke()

/** A course whose NFS export wants `xprtsec`, and clients of it with certificates. */
async function secureCourse(t: Test, xprtsec: string, options: CourseOptions = {}) {
  const tables =
    '[tls]\ncertificate = "server.pem"\nkey = "server.key"\nclient_ca = "ca.pem"\nrevoked = "revoked.pem"\n'
  const all = await course(t, {
    clients: `127.0.0.0/8(rw,root_squash,insecure${xprtsec && `,xprtsec=${xprtsec}`})`,
    ...options,
    tables: tables + (options.tables ?? ''),
    prepare(dir) {
      writePair(dir, 'server', server)
      writeFileSync(join(dir, 'ca.pem'), authority.cert)
      if (options.dir === undefined) writeFileSync(join(dir, 'revoked.pem'), none)
    },
  })
  return {
    ...all,
    plain: () => plainClient(t, all),
    secure: (pair: ConnectionOptions = {}) => secureClient(t, all, pair),
  }
}

async function plainClient(t: Test, { server: { nfsPort } }: Pick<Course, 'server'>): Promise<NfsClient> {
  const client = await NfsClient.connect(nfsPort as number)
  t.teardown(() => client.close())
  return client
}

/** A client after the handshake. */
async function secureClient(t: Test, all: Pick<Course, 'server'>, pair: ConnectionOptions): Promise<NfsClient> {
  const client = await plainClient(t, all)
  await client.rpc.startTls({ ca: authority.cert, servername: 'localhost', ...pair })
  return client
}

/** The counters of NFS. */
async function counters({ dir }: Pick<Course, 'dir'>) {
  const { stdout } = await run(['status', '--json', '--state-dir', join(dir, 'state')])
  return JSON.parse(stdout)[0].doors.nfs.counters
}

async function mountOf(client: NfsClient, path: string): Promise<Handle> {
  const { status, handle } = await client.mnt(path)
  if (status !== 0) throw new Error(`MNT ${path}: ${status}`)
  return handle
}

t.test('TLS on the port of NFS, for NFS, MOUNT and NLM; without it clear text goes on', AS_ROOT, async (t) => {
  const all = await secureCourse(t, '')
  for (const program of [
    [100003, 3],
    [MOUNT, 3],
    [NLM, 4],
  ] as const) {
    const client = await plainClient(t, all)
    const socket = await client.rpc.startTls({ ca: authority.cert }, program)
    t.equal(socket.alpnProtocol, 'sunrpc')
    t.equal(socket.getProtocol(), 'TLSv1.3')
    const root = await mountOf(client.as(DAEMON.uid), '/course/daemon')
    const made = await client.as(DAEMON.uid).create(root, `by-${program[0]}`, { mode: 'unchecked' })
    t.equal(made.status, STATUS.OK)
    const data = Buffer.alloc(700_000, 'x')
    t.equal((await client.as(DAEMON.uid).write(made.handle!, 0, data, 2)).status, STATUS.OK, 'a large record')
    t.same((await client.as(DAEMON.uid).read(made.handle!, 0, data.length)).data, data)
  }
  const clear = await all.plain()
  t.equal((await clear.mnt('/course/daemon')).status, STATUS.OK, 'this machine may use clear text by default')
  t.match(await counters(all), { secured: 3, certified: 0, tls: { secured: 3, handshakesFailed: 0 } })
})

t.test('a probe for an unknown program, another procedure, or twice, starts no TLS', AS_ROOT, async (t) => {
  const all = await secureCourse(t, '')
  const client = await all.plain()
  await t.rejects(client.rpc.askForTls([400_000, 1]), /PROG_UNAVAIL/)
  await t.rejects(client.rpc.call([100003, 3, 1], { flavor: 7, body: Buffer.alloc(0) }), /AUTH_ERROR 1/)
  await t.rejects(client.rpc.call([100003, 3, 0], { flavor: 7, body: Buffer.alloc(4) }), /AUTH_ERROR 1/)
  await client.null()
  const secure = await all.secure()
  await t.rejects(secure.rpc.askForTls(), /AUTH_ERROR 1/)
  await secure.null()
  const without = await course(t)
  await t.rejects((await plainClient(t, without)).rpc.askForTls(), /AUTH_ERROR 1/, 'a server without a certificate')
})

t.test('clear text before or instead of the handshake ends the connection', AS_ROOT, async (t) => {
  const all = await secureCourse(t, '')
  const probe = record(callMessage(7, [100003, 3, 0], { flavor: 7, body: Buffer.alloc(0) }))
  const call = record(callMessage(8, [100003, 3, 0]))
  for (const [name, bytes] of Object.entries({
    'a call with the probe': Buffer.concat([probe, call]),
    'half a call with the probe': Buffer.concat([probe, call.subarray(0, 10)]),
  })) {
    const socket = connect(all.server.nfsPort as number, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(bytes)
    await once(socket, 'close')
    t.pass(name)
  }
  const client = await all.plain()
  await client.rpc.askForTls()
  await t.rejects(client.null(), /closed/, 'a call after the probe')
  const secure = await all.secure()
  const raw = await all.plain()
  await raw.rpc.askForTls()
  raw.rpc.socket.write(Buffer.concat([Buffer.from([22, 3, 1, 0, 50]), Buffer.alloc(50, 1)]))
  await raw.rpc.closed
  t.pass('garbage in a handshake record')
  await secure.null()
  const { tls } = await counters(all)
  t.match(tls, { clearText: 1 })
})

t.test('garbage in place of TLS records after the handshake ends that connection only', AS_ROOT, async (t) => {
  const all = await secureCourse(t, '')
  const [one, two] = [await all.secure(), await all.secure()]
  await one.null()
  // Below TLS: the socket that carries it.
  const below = (one.rpc.socket as unknown as { _parent: import('node:net').Socket })._parent
  below.write(record(callMessage(9, [100003, 3, 0])))
  await one.rpc.closed
  await two.null()
  t.pass()
})

t.test('xprtsec=tls and mtls: clear text mounts, and opens nothing', AS_ROOT, async (t) => {
  for (const xprtsec of ['tls', 'mtls']) {
    const all = await secureCourse(t, xprtsec)
    const clear = (await all.plain()).as(DAEMON.uid)
    t.equal((await clear.mnt('/course/daemon')).status, STATUS.ACCES, 'no view is made for it')
    const tls = (await all.secure()).as(DAEMON.uid)
    const mtls = (await all.secure(daemon)).as(DAEMON.uid)
    const root = await mountOf(mtls, '/course/daemon')
    t.same((await clear.mnt('/course/daemon')).handle, root, 'a view that is there')
    t.equal((await clear.mnt('/course/daemon/sub')).status, STATUS.ACCES, 'no names in it')
    for (const answer of [
      await clear.getattr(root),
      await clear.lookup(root, 'welcome.txt'),
      await clear.create(root, 'x', { mode: 'guarded' }),
      await clear.getattr((await clear.mnt('/course')).handle),
    ])
      t.equal(answer.status, STATUS.ACCES, xprtsec)
    const file = (await mtls.lookup(root, 'welcome.txt')).handle!
    t.equal((await clear.read(file, 0, 10)).status, STATUS.ACCES, 'a sniffed handle')
    t.equal((await tls.getattr(root)).status, xprtsec === 'tls' ? STATUS.OK : STATUS.ACCES, 'without a certificate')
    t.equal((await mtls.read(file, 0, 10)).data.toString(), 'welcome')
    t.ok((await counters(all)).tooWeak > 0)
  }
})

t.test(
  'the certificate is the user: ids that the client claims, and handles of others, do not count',
  AS_ROOT,
  async (t) => {
    const all = await secureCourse(t, 'mtls')
    const [hers, his] = [await all.secure(daemon), await all.secure(bin)]
    const root = await mountOf(hers.as(BIN.uid), '/course/self')
    const own = await mountOf(his, '/course/self')
    t.notSame(root, own)
    for (const uid of [0, DAEMON.uid, BIN.uid, 4242]) {
      const made = await hers.as(uid).create(root, `as-${uid}`, { mode: 'guarded' })
      t.equal(made.status, STATUS.OK, `claims to be ${uid}`)
      t.equal((await hers.as(uid).getattr(made.handle!)).attr?.uid, DAEMON.uid)
      for (const claimed of [0, DAEMON.uid]) {
        const forged = his.as(claimed)
        t.equal((await forged.getattr(made.handle!)).status, STATUS.ACCES)
        t.equal((await forged.getattr(root)).status, STATUS.ACCES, 'the root too')
        t.equal((await forged.remove(root, `as-${uid}`)).status, STATUS.ACCES)
        t.equal((await forged.mnt('/course/daemon')).status, STATUS.ACCES)
        t.equal((await forged.lookup(await mountOf(forged, '/course'), 'daemon')).status, STATUS.NOENT)
      }
    }
    const changed = Buffer.from(root)
    changed[12] = (changed[12] as number) ^ 1
    t.equal((await hers.getattr(changed)).status, STATUS.BADHANDLE)
    const listed = await his.as(0).readdir(await mountOf(his, '/course'))
    t.same(
      listed.entries.map(({ name }) => name),
      ['.', '..', 'bin'],
      'sees its own view only',
    )
    t.equal((await (await all.secure(unknown)).mnt('/course/self')).status, STATUS.NOENT, 'a user without an account')
    t.equal((await (await all.secure(mail)).getattr(root)).status, STATUS.ACCES, 'a certificate that names no user')
  },
)

t.test(
  'a mount in clear text of /TEMPLATE/self is the view of whoever comes with a certificate',
  AS_ROOT,
  async (t) => {
    const all = await secureCourse(t, 'mtls')
    const clear = await all.plain()
    const self = (await clear.mnt('/course/self')).handle
    t.same((await clear.as(BIN.uid).mnt('/course/self')).handle, self, 'the same for everybody')
    t.equal((await clear.getattr(self)).status, STATUS.ACCES)
    t.equal((await (await all.secure()).getattr(self)).status, STATUS.ACCES)
    const [hers, his] = [await all.secure(daemon), await all.secure(bin)]
    t.equal((await hers.create(self, 'mine', { mode: 'guarded' })).status, STATUS.OK)
    t.equal((await hers.lookup(self, 'mine')).status, STATUS.OK)
    t.equal((await his.lookup(self, 'mine')).status, STATUS.NOENT)
    t.equal((await his.lookup(self, 'welcome.txt')).status, STATUS.OK)
    const root = await mountOf(hers, '/course/self')
    t.equal((await hers.getattr(self)).attr?.fileid, (await hers.getattr(root)).attr?.fileid)
    t.equal((await his.getattr(root)).status, STATUS.ACCES)
  },
)

t.test(
  'certificates that do not count get no connection; revoked ones lose theirs within a second',
  AS_ROOT,
  async (t) => {
    const all = await secureCourse(t, 'mtls')
    const late = await authority.client('user', 'daemon', EXPIRED)
    const foreign = await other.client('user', 'daemon')
    for (const [name, pair] of Object.entries({ late, foreign, authority: authority.issued, server })) {
      const client = await all.plain()
      await client.rpc.startTls({ ca: authority.cert, ...pair }).catch(() => undefined)
      await t.rejects(client.null(), /closed/, name)
    }
    const [hers, his] = [await all.secure(daemon), await all.secure(bin)]
    const root = await mountOf(hers, '/course/self')
    const begun = performance.now()
    writeFileSync(join(all.dir, 'next.pem'), await authority.revoke(daemon))
    renameSync(join(all.dir, 'next.pem'), join(all.dir, 'revoked.pem'))
    await hers.rpc.closed
    const ms = performance.now() - begun
    t.ok(ms < 5000, `${Math.round(ms)} ms`)
    t.comment(`closed after ${Math.round(ms)} ms`)
    const again = await all.plain()
    await again.rpc.startTls({ ca: authority.cert, ...daemon }).catch(() => undefined)
    await t.rejects(again.getattr(root), /closed/)
    t.equal((await his.mnt('/course/self')).status, STATUS.OK)
    const renewed = await all.secure(await authority.client('user', 'daemon'))
    t.equal((await renewed.getattr(root)).status, STATUS.OK, 'a new certificate of the same user')
  },
)

t.test('machines: the certificate names the view, whatever the address', AS_ROOT, async (t) => {
  const all = await secureCourse(t, 'tls', { kind: 'per-machine' })
  const machine = await all.secure(lab)
  const root = await mountOf(machine, '/course/self')
  t.same(await mountOf(machine, '/course/lab'), root)
  t.equal((await machine.create(root, 'of-lab', { mode: 'guarded' })).status, STATUS.OK)
  const byAddress = await all.secure()
  t.notSame(await mountOf(byAddress, '/course/127.0.0.1'), root)
  t.equal((await byAddress.lookup(root, 'of-lab')).status, STATUS.ACCES)
})

t.test('a repeated call is known by its certificate, not by its address', AS_ROOT, async (t) => {
  const all = await secureCourse(t, 'mtls')
  const hers = await all.secure(daemon)
  const root = await mountOf(hers, '/course/self')
  hers.rpc.nextXid = 77
  t.equal((await hers.mkdir(root, 'once')).status, STATUS.OK)
  const again = await all.secure(daemon)
  again.rpc.nextXid = 77
  t.equal((await again.mkdir(root, 'once')).status, STATUS.OK, 'answered from the cache')
  again.rpc.nextXid = 99
  t.equal((await again.mkdir(root, 'once')).status, STATUS.EXIST)
  const his = await all.secure(bin)
  his.rpc.nextXid = 77
  t.equal((await his.mkdir(root, 'once')).status, STATUS.ACCES, 'the same call of somebody else is another one')
})

t.test(
  'a lock belongs to the certificate: others at the same address with the same names cannot release it',
  AS_ROOT,
  async (t) => {
    const all = await secureCourse(t, '')
    const hers = await all.secure(daemon)
    const root = await mountOf(hers, '/course/self')
    const { handle } = await hers.create(root, 'locked', { mode: 'guarded' })
    const lock = { handle: handle!, owner: 'o', svid: 1, offset: 0n, length: 10n }
    const as = (client: NfsClient) => new NlmClient(client.rpc, 'same-name', authSys(DAEMON.uid, DAEMON.uid))
    t.equal(await as(hers).lock(lock, {}, 'NM_LOCK'), NLM_STATUS.GRANTED)
    t.equal(await as(await all.secure(bin)).lock(lock, {}, 'NM_LOCK'), NLM_STATUS.FAILED, 'in the view of another')
    const clear = as(await all.plain())
    await clear.unlock(lock)
    t.equal((await clear.test(lock)).status, NLM_STATUS.DENIED, 'not released')
    t.equal(await clear.lock(lock, {}, 'NM_LOCK'), NLM_STATUS.DENIED)
    const again = as(await all.secure(await authority.client('user', 'daemon')))
    t.equal(await again.unlock(lock), NLM_STATUS.GRANTED, 'a renewed certificate')
    t.equal(await clear.lock(lock, {}, 'NM_LOCK'), NLM_STATUS.GRANTED)
  },
)

t.test(
  'lock calls in clear text count only with insecure_locks, and never for locks of a certificate',
  AS_ROOT,
  async (t) => {
    const as = (client: NfsClient) => new NlmClient(client.rpc, 'same-name', authSys(DAEMON.uid, DAEMON.uid))
    for (const insecure of [false, true]) {
      const all = await secureCourse(t, `mtls${insecure ? ',insecure_locks' : ''}`)
      const hers = await all.secure(daemon)
      const { handle } = await hers.create(await mountOf(hers, '/course/self'), 'file', { mode: 'guarded' })
      const at = (offset: bigint) => ({ handle: handle!, owner: 'o', svid: 1, offset, length: 10n })
      const clear = as(await all.plain())
      const expected = insecure ? NLM_STATUS.GRANTED : NLM_STATUS.FAILED
      t.equal(await clear.lock(at(0n), {}, 'NM_LOCK'), expected)
      t.equal((await (await all.plain()).getattr(handle!)).status, STATUS.ACCES, 'nothing else counts')
      const other = new NlmClient((await all.plain()).rpc, 'same-name', authSys(BIN.uid, BIN.uid))
      t.equal(await other.lock(at(50n), {}, 'NM_LOCK'), NLM_STATUS.FAILED, 'nor the lock call of another user')
      const held = await as(hers).test(at(0n))
      t.equal(held.status, insecure ? NLM_STATUS.DENIED : NLM_STATUS.GRANTED)
      t.equal(await as(hers).lock(at(20n), {}, 'NM_LOCK'), NLM_STATUS.GRANTED)
      await clear.unlock(at(20n))
      t.equal((await as(await all.secure(bin)).test(at(20n))).status, NLM_STATUS.FAILED, 'another certificate')
      t.equal(await clear.lock(at(20n), {}, 'NM_LOCK'), insecure ? NLM_STATUS.DENIED : NLM_STATUS.FAILED, 'still held')
    }
  },
)

t.test('handshakes that never end are closed and keep nobody out', AS_ROOT, async (t) => {
  const all = await secureCourse(t, 'mtls')
  const slow = await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const client = await all.plain()
      await client.rpc.askForTls()
      if (i % 2 === 0) client.rpc.socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]))
      return client
    }),
  )
  const hers = await all.secure(daemon)
  t.ok(await mountOf(hers, '/course/self'))
  await Promise.all(slow.filter((_, i) => i % 2 === 0).map(({ rpc }) => rpc.closed))
  t.ok((await counters(all)).tls.handshakesFailed >= 30)
  await hers.null()
})

t.test('a server that was killed is found again by the same certificate', AS_ROOT, async (t) => {
  const first = await secureCourse(t, 'mtls')
  const before = await first.secure(daemon)
  const root = await mountOf(before, '/course/self')
  t.equal((await before.mkdir(root, 'kept')).status, STATUS.OK)
  await first.server.stop('SIGKILL')
  const second = await secureCourse(t, 'mtls', { dir: first.dir })
  const after = await second.secure(daemon)
  t.equal((await after.lookup(root, 'kept')).status, STATUS.OK)
  t.equal((await (await second.secure(bin)).lookup(root, 'kept')).status, STATUS.ACCES)
})

t.test('version 4: a session belongs to the certificate that made it', AS_ROOT, async (t) => {
  const all = await secureCourse(t, 'none:tls:mtls')
  const on = async (pair: ConnectionOptions | undefined) => {
    const { rpc } = pair === undefined ? await all.plain() : await all.secure(pair)
    return new Nfs4TestClient(rpc, authSys(DAEMON.uid, DAEMON.gid), 2)
  }
  const owner = await on(daemon)
  await owner.exchangeId('of the daemon')
  await owner.createSession()
  t.equal((await owner.compound([op.putrootfh()])).status, STATUS.OK)
  for (const [who, pair] of Object.entries({ 'in clear text': undefined, 'without a certificate': {}, bin: bin })) {
    const other = await on(pair)
    other.session = owner.session
    other.clientId = owner.clientId
    const { status } = await other.compound([op.putrootfh()], { sequence: owner.sequences[0] })
    t.equal(status, BADSESSION, `${who}: the reply to the last request`)
    t.equal((await other.compound([op.putrootfh()], { sequence: 2 })).status, BADSESSION, `${who}: another request`)
    t.equal((await other.bare([createSession(owner.clientId, 2)])).status, STALE_CLIENTID, `${who}: a session`)
    const destroy = { number: 44, args: (out: XdrWriter) => void out.raw(owner.session) }
    t.equal((await other.bare([destroy])).status, BADSESSION, `${who}: its end`)
  }
  const again = await on(daemon)
  again.session = owner.session
  t.equal((await again.compound([op.putrootfh()], { sequence: 2 })).status, STATUS.OK, 'another connection')
})
