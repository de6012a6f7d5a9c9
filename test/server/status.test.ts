import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { freePorts, run, start } from './launch.ts'

function layers(t: Test) {
  const dir = t.testdir({ lower: { file: 'x' } })
  return { dir, state: join(dir, 'state'), o: `lowerdir=${dir}/lower` }
}

t.setTimeout(300_000)

t.test('status finds the running server by the state directory and shows its counters', async (t) => {
  const { state, o } = layers(t)
  const server = await start(t, ['-o', o, 'tree', ...freePorts(state)])
  await (await request(new URL('file', server.webdavUrl))).body.dump()
  const shown = await run(['status', '--state-dir', state])
  t.equal(shown.status, 0)
  t.match(shown.stdout, /^server {2,}overlayd \d+\.\d+\.\d+, process \d+, up 00:00:\d\d$/m)
  t.match(shown.stdout, /^view {2,}tree \(read-only\)$/m)
  t.match(shown.stdout, /^webdav {2,}http:\/\/127\.0\.0\.1:\d+\/$/m)
  t.match(shown.stdout, new RegExp(`^nfs {2,}127\\.0\\.0\\.1:${server.nfsPort}$`, 'm'))
  t.match(shown.stdout, /^http\.requests {2,}\d+$/m)
  t.notMatch(shown.stdout, /faults/, 'counters at zero are left out')
  const json = await run(['status', '--json', '--url', new URL('/', server.webdavUrl).href])
  t.equal(json.status, 0)
  t.match(JSON.parse(json.stdout), {
    pid: server.child.pid,
    views: [{ name: 'tree', readOnly: true }],
    doors: { nfs: { port: server.nfsPort } },
    faults: { uncaughtExceptions: 0, unhandledRejections: 0 },
  })
  t.notMatch(json.stdout, /lower|nfs-handle-key/, 'no paths and no secrets')
  t.equal(await server.stop(), 0)
})

t.test('status says so when no server runs', async (t) => {
  const { state } = layers(t)
  const none = await run(['status', '--state-dir', state])
  t.equal(none.status, 1)
  t.match(none.stdout, /^no server runs with the state directory .*state; use --url or --state-dir to name one\n$/)
})

t.test('status of a server without WebDAV', async (t) => {
  const { state, o } = layers(t)
  const server = await start(t, ['-o', o, ...freePorts(state), '--webdav', 'off'])
  const shown = await run(['status', '--state-dir', state])
  t.equal(shown.status, 0)
  t.match(shown.stdout, new RegExp(`^nfs {2,}127\\.0\\.0\\.1:${server.nfsPort}$`, 'm'))
  t.equal(await server.stop(), 0)
})

t.test('status of something else, or of nothing, fails in one line', async (t) => {
  const other = createServer((_request, response) => response.writeHead(404).end('not here'))
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  t.teardown(() => other.listening && other.close())
  const foreign = await run(['status', '--url', `http://127.0.0.1:${port}`])
  t.equal(foreign.status, 1)
  t.match(foreign.stdout, /answered 404; it is not overlayd, or not on this machine\n$/)
  other.close()
  await once(other, 'close')
  const nobody = await run(['status', '--url', `http://127.0.0.1:${port}`])
  t.equal(nobody.status, 1)
  t.match(nobody.stdout, /no server is listening\n$/)
})
