import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { socketPath } from '../../server/admin/api/socket-path.ts'
import { type Handle, NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { ANY_PORT, AS_SERVER, freePorts, type Running, run, start } from './launch.ts'

t.setTimeout(300_000)

/** Two releases, an upper and its workdir. */
function layers(t: Test) {
  const dir = t.testdir({
    one: { version: '1', 'only-one': 'x', shared: { a: '1' } },
    two: { version: '2', shared: { b: '2' } },
    base: { stays: 'base' },
    upper: {},
    work: {},
  })
  return {
    dir,
    state: join(dir, 'state'),
    o: `lowerdir=${dir}/one:${dir}/base,upperdir=${dir}/upper,workdir=${dir}/work`,
  }
}

/** An NFS client of `server`, with its root handle. */
async function nfsOf(t: Test, server: Running, path = '/overlay'): Promise<{ nfs: NfsClient; root: Handle }> {
  const nfs = await NfsClient.connect(server.nfsPort as number)
  t.teardown(() => nfs.close())
  return { nfs, root: await nfs.mount(path) }
}

async function content(nfs: NfsClient, handle: Handle): Promise<string> {
  const { status, data } = await nfs.read(handle, 0, 100)
  return status === STATUS.OK ? data.toString() : `status ${status}`
}

async function get(server: Running, path: string): Promise<string> {
  const answer = await request(new URL(path, server.webdavUrl))
  const text = await answer.body.text()
  return answer.statusCode === 200 ? text : String(answer.statusCode)
}

/** The run file of the only running server. */
function noteOf(state: string) {
  const [name] = readdirSync(join(state, 'run'))
  const path = join(state, 'run', name as string)
  return { path, ...JSON.parse(readFileSync(path, 'utf8')) }
}

t.test('overlayd remount swaps a lower under a running server, and clients keep their mounts', async (t) => {
  const { dir, state, o } = layers(t)
  const server = await start(t, ['-o', o, 'tree', ...freePorts(state), ...ANY_PORT, ...AS_SERVER])
  const { nfs, root } = await nfsOf(t, server, '/tree')
  const stays = await nfs.walk(root, 'stays')
  const gone = await nfs.walk(root, 'only-one')
  const before = (await nfs.getattr(root)).attr
  t.equal(await get(server, 'version'), '1')
  t.equal(await get(server, 'shared/b'), '404')
  const done = await run(['remount', '-o', 'lowerdir=two:base', 'tree', '--state-dir', state], { cwd: dir })
  t.same(done, { status: 0, stdout: '', stderr: '' })
  t.equal(await get(server, 'version'), '2')
  t.equal(await get(server, 'shared/b'), '2')
  t.equal(await get(server, 'only-one'), '404')
  t.equal(await content(nfs, stays), 'base', 'a handle of a lower that stays')
  t.equal((await nfs.getattr(gone)).status, STATUS.STALE, 'one of a lower that is gone')
  t.equal(await content(nfs, await nfs.walk(root, 'version')), '2', 'by the handle of the root')
  const after = (await nfs.getattr(root)).attr
  t.equal(after?.fileid, before?.fileid)
  t.notSame(after?.ctime, before?.ctime, 'clients see that the directory has changed')
  t.equal(await server.stop(), 0)
})

t.test('a wrong remount is refused in one line, and the server goes on as before', async (t) => {
  const { dir, state, o } = layers(t)
  const server = await start(t, ['-o', o, ...freePorts(state), ...ANY_PORT, ...AS_SERVER])
  const cases: [string[], number, RegExp][] = [
    [
      ['-o', 'lowerdir=/nowhere'],
      2,
      /^overlayd: -o lowerdir: '\/nowhere' does not exist; create it \(mkdir -p\) or correct the path\n$/,
    ],
    [['-o', `upperdir=${dir}/one`], 2, /^overlayd: -o upperdir: cannot be changed by a remount; stop the overlay/],
    [['-o', 'redirect_dri=on'], 2, /^overlayd: -o redirect_dri: unknown option; did you mean redirect_dir\?\n$/],
    [['-o', 'ro', 'other'], 1, /^overlayd: no server of other runs with the state directory/],
    [['-o', 'ro', '--pid', '1'], 1, /^overlayd: no server with process 1 runs/],
    [[], 2, /^overlayd: -o: is missing/],
  ]
  for (const [args, status, message] of cases) {
    const ended = await run(['remount', ...args, '--state-dir', state])
    t.equal(ended.status, status, args.join(' '))
    t.match(ended.stderr, message)
    t.equal(await get(server, 'version'), '1')
  }
  t.equal(await server.stop(), 0)
  const none = await run(['remount', '-o', 'ro', '--state-dir', state])
  t.match(none, { status: 1, stderr: /^overlayd: no server runs with the state directory/ })
})

t.test('ro and rw by remount, with WebDAV off too', async (t) => {
  const { state, o } = layers(t)
  const server = await start(t, ['-o', o, ...freePorts(state), ...ANY_PORT, '--webdav', 'off'])
  const { nfs, root } = await nfsOf(t, server)
  const change = (options: string) => run(['remount', '-o', options, '--state-dir', state])
  t.equal((await change('ro')).status, 0)
  t.equal((await nfs.create(root, 'new')).status, STATUS.ROFS)
  t.equal((await change('rw')).status, 0)
  t.not((await nfs.create(root, 'new')).status, STATUS.ROFS)
  t.equal(await server.stop(), 0)
})

/** The status that answers the head of a POST at a socket, whose body is not sent. */
function announce(socketPath: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const post = httpRequest({ socketPath, path: '/v1/remount', method: 'POST', headers }, (answer) => {
      resolve(answer.statusCode)
      post.destroy()
    })
    post.on('error', reject)
    post.flushHeaders()
  })
}

t.test('nobody remounts who cannot open the socket of the server', async (t) => {
  const { state, o } = layers(t)
  const server = await start(t, ['-o', o, ...freePorts(state), ...ANY_PORT, ...AS_SERVER])
  const { path, admin } = noteOf(state)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(statSync(admin.socket).mode & 0o777, 0o600)
  t.equal(statSync(join(state, 'run')).mode & 0o777, 0o700)
  const body = JSON.stringify({ options: 'ro', cwd: '/', view: 'overlay' })
  const type = { 'content-type': 'application/json' }
  const bad: [number, string][] = [
    [400, '{'],
    [400, '{}'],
    [400, '{"options":1,"cwd":{},"view":"overlay"}'],
    [400, '{"options":"ro","cwd":"/","view":"overlay","more":1}'],
    [400, JSON.stringify({ options: 'ro', cwd: '/', view: 'constructor' })],
  ]
  const socket = await socketPath(admin.socket)
  t.teardown(() => socket.close())
  const dispatcher = new Agent({ connect: { socketPath: socket.path } })
  t.teardown(() => dispatcher.destroy())
  const url = 'http://localhost/v1/remount'
  const ask = async (options: Partial<Parameters<typeof request>[1]>) => {
    const answer = await request(url, { method: 'POST', headers: type, body, dispatcher, ...options })
    await answer.body.dump()
    return answer.statusCode
  }
  for (const [status, text] of bad) t.equal(await ask({ body: text }), status, text.slice(0, 40))
  t.equal(await ask({ headers: { 'content-type': 'text/plain' } }), 415, 'a form of a web page')
  t.equal(await ask({ headers: { ...type, origin: 'http://evil.example' } }), 403, 'a script of a web page')
  t.equal(await ask({ headers: { ...type, 'sec-fetch-site': 'cross-site' } }), 403)
  t.equal(await announce(socket.path, { ...type, 'content-length': '5000000' }), 413, 'refused before the body is sent')
  for (const method of ['GET', 'OPTIONS', 'PUT'] as const)
    t.ok([400, 404].includes(await ask({ method, body: null })), method)
  const elsewhere = await request(new URL('/v1/remount', server.webdavUrl), { method: 'POST', headers: type, body })
  t.ok(elsewhere.statusCode >= 400, 'the doors for clients know nothing of it')
  await elsewhere.body.dump()
  const writable = await request(new URL('new', server.webdavUrl), { method: 'PUT', body: 'x' })
  t.equal(writable.statusCode, 201, 'nothing has changed')
  if (process.geteuid?.() === 0) {
    const options = { uid: 65_534, gid: 65_534, encoding: 'utf8', cwd: join(state, 'run') } as const
    const { stderr } = spawnSync('curl', ['--unix-socket', basename(admin.socket), 'http://x/v1/status'], options)
    t.match(stderr, /Couldn't connect|Could not connect|Failed to connect/, 'another user of the machine')
  }
  const shown = await run(['status', '--state-dir', state])
  t.match(shown.stdout, /^admin\.refused {2,}2$/m)
  t.equal(await server.stop(), 0)
  t.notOk(existsSync(admin.socket), 'the socket is gone')
})

t.test('file handles of a read-only overlay survive a restart with the lowers of the last remount', async (t) => {
  const { dir, state } = layers(t)
  mkdirSync(join(dir, 'three'))
  writeFileSync(join(dir, 'three/new'), '3')
  const first = await start(t, ['-o', `lowerdir=${dir}/one:${dir}/base`, ...freePorts(state), ...ANY_PORT])
  const { nfs, root } = await nfsOf(t, first)
  const stays = await nfs.walk(root, 'stays')
  const o = `lowerdir=${dir}/three:${dir}/base`
  t.equal((await run(['remount', '-o', o, '--state-dir', state])).status, 0)
  const fresh = await nfs.walk(root, 'new')
  t.equal(await first.stop(), 0)
  const second = await start(t, ['-o', o, ...freePorts(state), ...ANY_PORT, ...AS_SERVER])
  const again = (await nfsOf(t, second)).nfs
  t.equal(await content(again, stays), 'base')
  t.equal(await content(again, fresh), '3')
  t.equal(await content(again, await again.walk(root, 'new')), '3', 'the root too')
  t.equal(await second.stop(), 0)
})
