import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
} from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { AS_SERVER, freePorts, run, start } from './launch.ts'

/** Layers for one server: its directories, and the arguments that serve them. */
function layers(t: Test) {
  const dir = t.testdir({ lower: { 'hello.txt': 'hello from below\n' }, upper: {}, work: {} })
  // Nobody is warned of a way to the layers that is closed.
  chmodSync(dir, 0o700)
  const o = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
  return { dir, o, args: ['-o', o, ...freePorts(join(dir, 'state')), ...AS_SERVER] }
}

t.setTimeout(300_000)

t.test('both doors are announced with the commands that mount them', async (t) => {
  const server = await start(t, [...layers(t).args, 'tree'])
  t.match(server.stdout(), /^ {2}mount -t davfs http:\/\/127\.0\.0\.1:\d+\/tree\/ \/mnt$/m)
  t.match(server.stdout(), /^ {2}mount -t nfs -o vers=3,tcp,nolock,port=(\d+),mountport=\1 127\.0\.0\.1:\/tree \/mnt$/m)
  t.equal(server.stderr(), '')
  t.equal(await server.stop(), 0)
})

t.test('what the storage of the upper cannot do is said when the server starts', async (t) => {
  const { o, dir } = layers(t)
  const server = await start(t, ['-o', `${o},whiteouts=files`, ...freePorts(join(dir, 'state')), ...AS_SERVER, 'tree'])
  t.match(server.stdout(), /^Note on tree: whiteouts are stored as files \(\.wh\.NAME\): the kernel cannot read them/m)
  t.equal(await server.stop(), 0)
  t.ok(existsSync(join(dir, 'upper/.wh..wh.overlayd')))
})

t.test('a file written through WebDAV lies in the upper after SIGTERM, the lower is as it was', async (t) => {
  const { dir, args } = layers(t)
  const server = await start(t, args)
  const below = await request(new URL('hello.txt', server.webdavUrl))
  t.equal(await below.body.text(), 'hello from below\n')
  const put = await request(new URL('new.txt', server.webdavUrl), { method: 'PUT', body: 'new\n' })
  await put.body.dump()
  t.equal(put.statusCode, 201)
  t.equal(await server.stop(), 0)
  t.equal(readFileSync(join(dir, 'upper/new.txt'), 'utf8'), 'new\n')
  t.same(readdirSync(join(dir, 'upper')), ['new.txt'])
  t.same(readdirSync(join(dir, 'lower')), ['hello.txt'])
})

t.test('the ready file tells where the doors are while they are open', async (t) => {
  const { dir, args } = layers(t)
  const path = join(dir, 'ready.json')
  const server = await start(t, [...args, '--ready-file', path])
  t.same(JSON.parse(readFileSync(path, 'utf8')), {
    webdav: server.webdavUrl,
    nfs: { host: '127.0.0.1', port: server.nfsPort, export: '/overlay' },
  })
  t.equal(await server.stop(), 0)
  t.notOk(existsSync(path), 'it is gone with the server')
  t.same(readdirSync(join(dir, 'state/run')), [], 'and so is the run file in the state directory')
})

t.test('a door that is off is not there', async (t) => {
  const { dir, args } = layers(t)
  const path = join(dir, 'ready.json')
  const server = await start(t, [...args, '--nfs', 'off', '--ready-file', path])
  t.equal(server.nfsPort, undefined)
  t.equal(JSON.parse(readFileSync(path, 'utf8')).nfs, null)
  t.equal(await server.stop('SIGINT'), 0)
  const other = await start(t, [...args, '--webdav', 'off', '--ready-file', path])
  t.equal(other.webdavUrl, undefined)
  t.equal(JSON.parse(readFileSync(path, 'utf8')).webdav, null)
  t.equal(await other.stop('SIGHUP'), 0)
})

t.test('no upper: read-only, and said so', async (t) => {
  const { dir } = layers(t)
  const server = await start(t, ['-o', `lowerdir=${dir}/lower`, ...freePorts(join(dir, 'state'))])
  t.match(server.stdout(), /serves overlay \(read-only\)/)
  const put = await request(new URL('new.txt', server.webdavUrl), { method: 'PUT', body: 'new\n' })
  await put.body.dump()
  t.equal(put.statusCode, 403)
  t.equal(await server.stop(), 0)
})

t.test('an upper in use by another process is refused, and free again when that one was killed', async (t) => {
  const { dir, o, args } = layers(t)
  const first = await start(t, args)
  const second = await run(['-o', o, ...freePorts(join(dir, 'state2'))])
  t.equal(second.status, 2)
  t.match(second.stderr, /^overlayd: -o (upperdir|workdir): [^\n]*(busy|in use)[^\n]*\n$/i)
  t.notOk(existsSync(join(dir, 'state2')))
  await first.stop('SIGKILL')
  const third = await start(t, args)
  t.equal(await third.stop(), 0)
})

t.test('a signal lets a running upload finish', async (t) => {
  const { dir, args } = layers(t)
  const server = await start(t, args)
  const { hostname, port, pathname } = new URL('slow.txt', server.webdavUrl)
  const socket = connect(Number(port), hostname)
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  // The interim answer tells that the request has been taken up.
  const continued = new Promise((resolve) => socket.once('data', resolve))
  const headers = ['Host: localhost', 'Content-Length: 8', 'Expect: 100-continue', 'Connection: close']
  socket.write(`PUT ${pathname} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`)
  await continued
  socket.write('half')
  const watcher = watch(join(dir, 'state/run'))
  const stopping = new Promise((resolve) => watcher.once('change', resolve))
  const stopped = server.stop()
  // The run file is removed first, so the server is now stopping.
  await stopping
  watcher.close()
  socket.write('done')
  await closed
  t.match(answer, /HTTP\/1\.1 201 /)
  t.equal(await stopped, 0)
  t.equal(readFileSync(join(dir, 'upper/slow.txt'), 'utf8'), 'halfdone')
})

t.test('a second signal ends the server at once, whatever still runs', async (t) => {
  const { dir, args } = layers(t)
  const server = await start(t, args)
  const { hostname, port, pathname } = new URL('stalled.txt', server.webdavUrl)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  const continued = new Promise((resolve) => socket.once('data', resolve))
  socket.write(`PUT ${pathname} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n`)
  await continued
  const watcher = watch(join(dir, 'state/run'))
  const stopping = new Promise((resolve) => watcher.once('change', resolve))
  server.child.kill('SIGTERM')
  await stopping
  watcher.close()
  t.equal(await server.stop(), 128 + 15)
  socket.destroy()
})

t.test(
  'without root the server serves its own user',
  { skip: process.getuid?.() !== 0 && 'needs root to be someone else' },
  async (t) => {
    const dir = mkdtempSync('/tmp/overlayd-nobody-')
    t.teardown(() => rmSync(dir, { recursive: true, force: true }))
    for (const name of ['lower', 'upper', 'work']) mkdirSync(join(dir, name))
    for (const name of ['.', 'lower', 'upper', 'work']) chownSync(join(dir, name), 65_534, 65_534)
    const o = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
    const server = await start(t, ['-o', o, ...freePorts(join(dir, 'state'))], { uid: 65_534, cwd: '/' })
    const put = await request(new URL('mine.txt', server.webdavUrl), { method: 'PUT', body: 'mine' })
    await put.body.dump()
    t.equal(put.statusCode, 201)
    t.equal(await server.stop(), 0)
    t.equal(readFileSync(join(dir, 'upper/mine.txt'), 'utf8'), 'mine')
  },
)
