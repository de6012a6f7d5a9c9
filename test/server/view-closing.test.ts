import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { NlmClient } from '../helpers/nlm-client.ts'
import { authSys } from '../helpers/rpc-client.ts'
import { AS_ROOT, type Course, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

const LOCK =
  '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
const TUS = { 'Tus-Resumable': '1.0.0' }
const PIECE = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }

/** Waits until the view of a user is closed, as the server says. */
async function closed({ dir }: Course, user: string): Promise<void> {
  for (;;) {
    const { stdout } = await run(['view', 'show', `course/${user}`, '--json', '--state-dir', join(dir, 'state')])
    if (JSON.parse(stdout).state === 'closed') return
    await pause(100)
  }
}

function sync(token: string): { body: string; headers: Record<string, string> } {
  const body = `<D:sync-collection xmlns:D="DAV:"><D:sync-token>${token}</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`
  return { body, headers: { depth: '0' } }
}

t.test('handles, locks, uploads, sync tokens and unstable data outlive the closing of a view', AS_ROOT, async (t) => {
  const all = await course(t, { more: 'create = true\nidle = "1s"' })
  const { nfs, dav } = all
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.create(root, 'f')).handle!
  const before = await daemon.write(file, 0, Buffer.from('unstable'), 0)
  const lower = await daemon.walk(root, 'sub/a.txt')
  const moved = (await daemon.mkdir(root, 'dir')).handle!
  await daemon.rename(root, 'dir', root, 'elsewhere')
  const nlm = new NlmClient(nfs.rpc, 'client', authSys(DAEMON.uid, DAEMON.gid))
  const range = { handle: file, owner: 'o', svid: 1, offset: 0n, length: 1n }
  t.equal(await nlm.lock(range, {}, 'NM_LOCK'), 0)
  const locked = await dav('LOCK', '/course/~daemon/welcome.txt', { body: LOCK })
  const upload = await dav('POST', '/course/~daemon/', {
    headers: { ...TUS, 'Upload-Length': '8', 'Upload-Metadata': `filename ${Buffer.from('up').toString('base64')}` },
  })
  const location = String(upload.headers.location)
  await dav('PATCH', location, { headers: { ...PIECE, 'Upload-Offset': '0' }, body: 'half' })
  const first = await dav('REPORT', '/course/~daemon/', sync(''))
  const token = /<D:sync-token>([^<]*)/.exec(first.body)?.[1] as string
  const cached = await dav('GET', '/course/~daemon/f')

  await closed(all, 'daemon')
  t.equal((await nlm.test({ ...range, svid: 2 })).status, 1, 'the NFS lock is in force')
  const again = await daemon.read(file, 0, 100)
  t.equal(again.data.toString(), 'unstable')
  t.equal((await daemon.commit(file)).verifier, before.verifier, 'the data is as safe as the client thinks')
  t.equal((await daemon.read(lower, 0, 1)).data.toString(), 'A')
  t.equal((await daemon.lookup(root, 'elsewhere')).handle?.equals(moved), true)

  await closed(all, 'daemon')
  t.equal((await dav('PUT', '/course/~daemon/welcome.txt', { body: 'x' })).status, 423, 'the WebDAV lock is in force')
  const unlock = { headers: { 'lock-token': String(locked.headers['lock-token']) } }
  t.equal((await dav('UNLOCK', '/course/~daemon/welcome.txt', unlock)).status, 204)
  t.match(await dav('GET', '/course/~daemon/f'), { body: 'unstable', headers: { etag: cached.headers.etag } })

  await closed(all, 'daemon')
  t.match(await dav('HEAD', location, { headers: TUS }), { status: 200, headers: { 'upload-offset': '4' } })
  const rest = await dav('PATCH', location, { headers: { ...PIECE, 'Upload-Offset': '4' }, body: 'half' })
  t.equal(rest.status, 204)
  t.match(await dav('GET', '/course/~daemon/up'), { status: 200, body: 'halfhalf' })
  const second = await dav('REPORT', '/course/~daemon/', sync(token))
  t.match(second, { status: 207, body: /~daemon\/up</ })
  t.notMatch(second.body, /~daemon\/sub/, 'the token tells only what has changed')
  t.notMatch(all.server.stderr(), /"level":50/, 'nothing has failed')
})

t.test('a WebDAV lock and a half upload outlive the server', AS_ROOT, async (t) => {
  const all = await course(t)
  const locked = await all.dav('LOCK', '/course/~daemon/welcome.txt', {
    body: LOCK,
    headers: { timeout: 'Second-3000' },
  })
  const upload = await all.dav('POST', '/course/~daemon/', {
    headers: { ...TUS, 'Upload-Length': '4', 'Upload-Metadata': `filename ${Buffer.from('up').toString('base64')}` },
  })
  const location = String(upload.headers.location)
  await all.server.stop('SIGKILL')
  const { dav } = await course(t, { dir: all.dir })
  t.equal((await dav('PUT', '/course/~daemon/welcome.txt', { body: 'x' })).status, 423)
  const put = { body: 'x', headers: { if: `(${String(locked.headers['lock-token'])})` } }
  t.equal((await dav('PUT', '/course/~daemon/welcome.txt', put)).status, 204)
  t.match(await dav('HEAD', location, { headers: TUS }), { status: 200, headers: { 'upload-offset': '0' } })
  t.equal((await dav('HEAD', location.replace('~daemon', '~bin'), { headers: TUS })).status, 404)
})

t.test('a view in use is not closed, and many can be opened at once', AS_ROOT, async (t) => {
  const all = await course(t, { more: 'create = true\nidle = "1s"\nowner = "1:1"' })
  const names = Array.from({ length: 40 }, (_, i) => `user${i}`)
  const made = await Promise.all(names.map((name) => all.dav('PUT', `/course/~${name}/own`, { body: name })))
  t.ok(made.every(({ status }) => status === 201))
  const big = await all.dav('PUT', '/course/~user0/big', { body: 'x'.repeat(4 << 20) })
  t.equal(big.status, 201)
  for (const name of names.slice(1, 3)) await closed(all, name)
  const read = await Promise.all(names.map((name) => all.dav('GET', `/course/~${name}/own`)))
  t.same(
    read.map(({ body }) => body),
    names,
  )
  const ids = readdirSync(join(all.dir, 'views')).filter((name) => /^[0-9a-f]{16}$/.test(name))
  t.equal(ids.length, 40)
})
