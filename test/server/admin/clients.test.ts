import { join } from 'node:path'
import t from 'tap'
import { AS_ROOT, course, DAEMON } from '../course.ts'
import { run } from '../launch.ts'
import { verbs } from '../view-orders.ts'

t.setTimeout(300_000)

const LOCK =
  '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype><owner>me</owner></lockinfo>'

t.test('who is there, what they hold, and how it ends', AS_ROOT, async (t) => {
  const { dir, server, nfs, dav } = await course(t, { more: 'create = true\nowner = "1:1"\nquota = "1M"' })
  const state = join(dir, 'state')
  const command = (...words: string[]) => run([...words, '--state-dir', state])
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  await daemon.create(root, 'f')
  await dav('PUT', '/course/~daemon/sub/b.txt', { body: 'x'.repeat(5000) })
  const locked = await dav('LOCK', '/course/~daemon/sub/b.txt', { body: LOCK, headers: { depth: '0' } })
  t.equal(locked.status, 200)

  const ask = await verbs(server, state)
  const clients = await ask('who', {})
  t.match(
    clients.find(({ door }) => door === 'nfs'),
    {
      address: '127.0.0.1',
      users: ['uid 1'],
      views: ['course/daemon'],
      encrypted: false,
    },
  )
  t.match(
    clients.find(({ door }) => door === 'webdav'),
    {
      address: '127.0.0.1',
      views: ['course/daemon'],
      locks: 1,
    },
  )
  t.same(await ask('who', { view: 'other' }), [])
  t.equal((await ask('who', { view: 'course' })).length, 2, 'by the template')
  t.match(
    (await command('who')).stdout,
    /^DOOR +CLIENT +USERS +VIEWS +CONNECTIONS +LOCKS +LAST SEEN\n(nfs|webdav) +127/,
  )
  t.match((await command('top', '--once')).stdout, /^overlayd \S+, process \d+.*DOOR +CLIENT/s)

  const { locks } = await ask('lock list', { view: 'course/daemon' })
  t.match(locks, [{ door: 'webdav', kind: 'exclusive', path: 'sub/b.txt', view: 'course/daemon', deep: false }])
  t.match(await command('lock', 'break', locks[0]!.id), {
    status: 2,
    stderr: /asks before it changes anything; add --yes/,
  })
  t.equal((await dav('PUT', '/course/~daemon/sub/b.txt', { body: 'y' })).status, 423)
  t.match(await command('lock', 'break', locks[0]!.id, '--yes'), {
    stdout: /^ended the exclusive lock of .* on \/sub\/b\.txt/,
  })
  t.equal((await dav('PUT', '/course/~daemon/sub/b.txt', { body: 'y' })).status, 204)
  t.match(await command('lock', 'list'), { status: 0, stdout: 'there are no locks\n' })
  t.match(await command('lock', 'break', 'nfs:1', '--yes'), { status: 2, stderr: /there is no lock "nfs:1"/ })

  t.match(await command('kick', '--client', '127.0.0.1'), { status: 2, stderr: /add --yes/ })
  const kicked = JSON.parse((await command('kick', '--client', '127.0.0.1', '--yes', '--json')).stdout)
  t.ok(kicked.connections >= 1)
  await t.rejects(daemon.getattr(root), 'the connection is gone')
  t.match(await command('kick', '--client', '127.0.0.9', '--yes'), {
    status: 2,
    stderr: /has no connection, lock or session/,
  })
  t.match(await command('kick'), { status: 2, stderr: /needs either --client ADDRESS or --user USER/ })
})

t.test('a view has limits of its own, at once and after a restart', AS_ROOT, async (t) => {
  const more = 'create = true\nowner = "1:1"\nquota = "1M"'
  const first = await course(t, { more })
  const { dir } = first
  const command = (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
  const big = 'x'.repeat(1_500_000)
  t.equal((await first.dav('PUT', '/course/~daemon/big', { body: big })).status, 507)
  t.match(await command('quota', 'set', 'course/daemon', '--bytes', '4M'), { status: 0, stdout: /limits of its own/ })
  t.equal((await first.dav('PUT', '/course/~daemon/big', { body: big })).status, 201)
  t.equal((await first.dav('PUT', '/course/~bin/big', { body: big })).status, 507, 'other views keep theirs')
  t.match(await command('quota', 'set', 'course/daemon', '--bytes', '1M', '--soft-bytes', '2M'), {
    status: 2,
    stderr: /the soft limit of bytes is above the limit/,
  })
  t.equal(await first.server.stop(), 0)
  const second = await course(t, { more, dir })
  const ask = await verbs(second.server, join(dir, 'state'))
  t.match(await ask('quota show', { view: 'course/daemon' }), { bytes: 1_500_000, hardBytes: 4 * 2 ** 20, own: true })
  t.match(await ask('view show', { view: 'course/daemon' }), { quota: { hardBytes: 4 * 2 ** 20 } })

  const usage = await ask('usage', {})
  t.match(usage, { views: [{ view: 'course/daemon', bytes: 1_500_000 }], unknown: 0 })
  t.match(await ask('usage', { view: 'course/daemon' }), { paths: [{ path: 'big', kind: 'file', bytes: 1_500_000 }] })
  t.match(
    (await command('usage', 'course')).stdout,
    /^BYTES +FILES +OF LIMIT +GROWN +VIEW\n1\.4 MiB +\d+ +36 % +\S+ +course\/daemon\n/,
  )
  t.match(await ask('view stack', { view: 'course/daemon' }), { layers: [{ kind: 'upper' }, { kind: 'lower' }] })
  const { atMs, nfsCalls } = await ask('history', {})
  t.equal(atMs.length, nfsCalls.length)

  t.match(await command('quota', 'set', 'course/daemon', '--inherit'), { status: 0, stdout: /limits of its template/ })
  t.equal(
    (await second.dav('PUT', '/course/~daemon/more', { body: 'x' })).status,
    507,
    'the limit of the template again',
  )
  t.match(await command('job', 'list'), { stdout: /^ID +VERB +STATE +BEGUN +USER +HOW FAR\n\S+ +usage +done/ })
  t.match(await command('usage', 'curse'), { status: 2, stderr: /there is no template "curse"/ })
})
