import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Client } from 'undici'
import { AS_ROOT, type Course, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

interface Asked {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Sends requests from an address of this machine. */
function from(t: Test, { server }: Course, localAddress: string) {
  const client = new Client(new URL(server.webdavUrl as string).origin, { localAddress })
  t.teardown(() => client.destroy())
  return async (method: string, path: string, { body, headers = {} }: Asked = {}) => {
    const answer = await client.request({ method: method as 'GET', path, body: body ?? null, headers })
    return { status: answer.statusCode, body: await answer.body.text() }
  }
}

const machines = (webdav = '') => ({ kind: 'per-machine' as const, as: 'root', webdav })

t.test(
  'each machine has its own view over WebDAV, the one that it has over NFS, and reaches no other',
  AS_ROOT,
  async (t) => {
    const all = await course(t, machines())
    const [one, two] = [from(t, all, '127.0.0.1'), from(t, all, '127.0.0.2')]
    t.equal((await one('PUT', '/course/own', { body: 'one' })).status, 201)
    t.equal((await two('GET', '/course/own')).status, 404)
    t.equal((await two('PUT', '/course/own', { body: 'two' })).status, 201)
    t.equal((await one('GET', '/course/own')).body, 'one')
    t.equal((await one('GET', '/course/127.0.0.1/own')).body, 'one', 'by its own address')
    t.equal((await two('GET', '/course/127.0.0.1/own')).status, 404, 'not by that of another')
    t.equal((await two('GET', '/course/~127.0.0.1/own')).status, 404)
    const root = await all.nfs.mount('/course/self')
    const file = (await all.nfs.lookup(root, 'own')).handle!
    t.equal((await all.nfs.read(file, 0, 10)).data.toString(), 'one')

    const move = await two('MOVE', '/course/own', { headers: { destination: '/course/127.0.0.1/stolen' } })
    t.equal(move.status, 409, 'the address of another is only a name in the own view')
    const listed = await two('PROPFIND', '/course/', { headers: { depth: '1' } })
    t.equal(listed.status, 207)
    t.notMatch(listed.body, /127\.0\.0\.1/)
    t.notMatch((await two('PROPFIND', '/', { headers: { depth: '1' } })).body, /127\.0\.0\.1/)
    const lock =
      '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
    t.equal((await one('LOCK', '/course/own', { body: lock })).status, 200)
    t.equal((await two('PUT', '/course/own', { body: 'free' })).status, 204, 'nor do locks reach over')
    const { stdout } = await run(['view', 'list', '--state-dir', join(all.dir, 'state')])
    t.match(stdout, /course\/127\.0\.0\.1 /)
    t.match(stdout, /course\/127\.0\.0\.2 /)
  },
)

t.test('a proxy that nobody has declared, and forged fields, lead to no view', AS_ROOT, async (t) => {
  const all = await course(t, machines())
  const one = from(t, all, '127.0.0.1')
  t.equal((await one('PUT', '/course/own', { body: 'one' })).status, 201)
  const two = from(t, all, '127.0.0.2')
  for (const headers of [
    { 'x-forwarded-for': '127.0.0.1' },
    { forwarded: 'for=127.0.0.1' },
    { via: '1.1 proxy' },
    { 'x-forwarded-host': 'files.example.org' },
  ]) {
    const { status } = await two('GET', '/course/own', { headers })
    t.equal(status, 404, JSON.stringify(headers))
    t.equal((await two('PUT', '/course/forged', { headers, body: 'x' })).status, 404)
  }
  t.equal((await one('GET', '/course/forged')).status, 404)
})

t.test('behind a trusted proxy, machines are told apart by what it reports', AS_ROOT, async (t) => {
  const all = await course(t, machines('trusted_proxies = ["127.0.0.9", "127.0.0.8"]'))
  const proxy = from(t, all, '127.0.0.9')
  const forClient = (chain: string) => ({ headers: { 'x-forwarded-for': chain } })
  t.equal((await proxy('PUT', '/course/own', { body: 'one', ...forClient('10.0.0.1') })).status, 201)
  t.equal((await proxy('GET', '/course/own', forClient('10.0.0.1'))).body, 'one')
  t.equal((await proxy('GET', '/course/own', { headers: { forwarded: 'for="10.0.0.1:4711"' } })).body, 'one')
  t.equal((await proxy('GET', '/course/own', forClient('10.0.0.1, 127.0.0.8'))).body, 'one', 'through two proxies')
  t.equal((await proxy('GET', '/course/own', forClient('::ffff:10.0.0.1'))).body, 'one', 'in another form')
  t.equal((await proxy('GET', '/course/10.0.0.1/own', forClient('10.0.0.1'))).body, 'one')
  t.equal((await proxy('GET', '/course/own', forClient('10.0.0.2'))).status, 404, 'another client')
  t.equal(
    (await proxy('GET', '/course/own', forClient('10.0.0.1, 10.0.0.2'))).status,
    404,
    'what the client has forged',
  )
  t.equal((await proxy('PUT', '/course/six', { body: '6', ...forClient('2001:DB8::0:1') })).status, 201)
  t.equal((await proxy('GET', '/course/six', forClient('2001:db8::1'))).body, '6')
  for (const headers of [
    {},
    { 'x-forwarded-for': 'unknown' },
    { forwarded: 'for=_hidden' },
    { forwarded: 'for=10.0.0.1', 'x-forwarded-for': '10.0.0.2' },
    { 'x-forwarded-for': '127.0.0.8' },
  ])
    t.equal((await proxy('GET', '/course/welcome.txt', { headers })).status, 404, JSON.stringify(headers))
  const direct = from(t, all, '127.0.0.1')
  t.equal((await direct('GET', '/course/own', forClient('10.0.0.1'))).status, 404)
  t.equal((await direct('GET', '/course/welcome.txt')).status, 200)
})
