import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { parseNetwork } from '../../config/proxy-options.ts'
import { buildApp } from '../../server/app.ts'
import { limitConnections, newHttpCounters } from '../../server/http-limits.ts'
import { PublicNames } from '../../server/public-names.ts'
import type { ServerStatus } from '../../server/status.ts'

const log = pino({ level: 'silent' })
const status: ServerStatus = {
  version: '1.2.3',
  pid: 1,
  uptimeSeconds: 5,
  memoryBytes: 1024,
  views: [{ name: 'overlay', readOnly: false }],
  doors: {},
  http: {},
  admin: {},
  log: {},
  faults: {},
}

function build(t: Test, anyHost = false) {
  const built = buildApp({ log, anyHost, status: () => status })
  built.app.get('/overlay/*', async () => 'content')
  t.teardown(() => built.app.close())
  return built
}

/** Sends `text` to `port` and returns everything that comes back until the connection ends. */
async function exchange(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1')
  })
  socket.write(text)
  await once(socket, 'close')
  return answer
}

t.test('the status is for this machine only', async (t) => {
  const { app } = build(t)
  const answer = await app.inject('/-/status')
  t.equal(answer.statusCode, 200)
  t.same(answer.json(), status)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal((await app.inject({ url: '/-/status', remoteAddress: '10.0.0.9' })).statusCode, 404)
  t.equal(
    (await app.inject({ url: '/-/status', headers: { 'x-forwarded-for': '10.0.0.9' } })).statusCode,
    404,
    'through a proxy',
  )
})

t.test('without a login only localhost and addresses are answered to', async (t) => {
  const { app, counters } = build(t)
  for (const host of ['localhost', 'localhost:8080', '127.0.0.1:8080', '[::1]:8080', '10.0.2.2:80', 'a.localhost']) {
    t.equal((await app.inject({ url: '/overlay/x', headers: { host } })).statusCode, 200, host)
  }
  for (const host of [
    'evil.example',
    'evil.example:8080',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '1.2.3.4@evil',
  ]) {
    t.equal((await app.inject({ url: '/overlay/x', headers: { host } })).statusCode, 421, host)
    t.equal((await app.inject({ url: '/nowhere', headers: { host } })).statusCode, 421, `${host} where nothing is`)
  }
  t.equal(counters.foreignHosts, 10)
})

t.test('the names of --public-url are answered to, those of a proxy alone are not', async (t) => {
  const names = new PublicNames({
    publicUrls: ['https://files.example.org'],
    trustedProxies: [parseNetwork('--trusted-proxy', '127.0.0.1')],
  })
  const { app } = buildApp({ log, anyHost: false, names, status: () => status })
  app.get('/overlay/*', async () => 'content')
  t.teardown(() => app.close())
  const ask = async (headers: Record<string, string>, url = '/overlay/x') =>
    (await app.inject({ url, headers, remoteAddress: '127.0.0.1' })).statusCode
  t.equal(await ask({ host: 'files.example.org' }), 200)
  t.equal(await ask({ host: 'Files.example.org:443' }), 200)
  t.equal(await ask({ host: 'evil.example', 'x-forwarded-host': 'evil.example' }), 421)
  t.equal(await ask({ host: 'files.example.org' }, '/-/status'), 404, 'the status is not for who comes through a proxy')
})

t.test('a page of another origin may link to the server and nothing else', async (t) => {
  const names = new PublicNames({
    publicUrls: ['https://files.example.org'],
    trustedProxies: [parseNetwork('--trusted-proxy', '127.0.0.2')],
  })
  const { app, counters } = buildApp({ log, anyHost: false, names, status: () => status })
  app.all('/overlay/*', async () => 'content')
  t.teardown(() => app.close())
  const host = 'localhost:8080'
  const ask = async (method: 'GET' | 'POST' | 'PUT', headers: Record<string, string>, remoteAddress = '127.0.0.1') =>
    (await app.inject({ method, url: '/overlay/x', headers: { host, ...headers }, remoteAddress })).statusCode
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  const refused: [string, 'GET' | 'POST' | 'PUT', Record<string, string>][] = [
    ['fetch', 'GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'empty' }],
    ['an image', 'GET', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
    ['a frame', 'GET', { ...link, 'sec-fetch-dest': 'iframe' }],
    ['a form', 'POST', { ...link, origin: 'http://evil.example' }],
    ['without Fetch Metadata', 'PUT', { origin: 'http://evil.example' }],
    ['a GET without Fetch Metadata', 'GET', { origin: 'http://evil.example' }],
    ['another port', 'PUT', { origin: 'http://localhost:9090' }],
    ['a sandbox', 'PUT', { origin: 'null' }],
    ['an origin that is none', 'PUT', { origin: 'http://localhost:8080/x' }],
    ['a proxy that nobody declared', 'PUT', { origin: 'http://a.example', 'x-forwarded-host': 'a.example' }],
  ]
  for (const [what, method, headers] of refused) t.equal(await ask(method, headers), 403, what)
  t.equal(counters.foreignPages, refused.length)

  t.equal(await ask('GET', link), 200, 'a link that is followed')
  t.equal(await ask('PUT', {}), 200, 'a program')
  t.equal(await ask('PUT', { 'sec-fetch-site': 'same-origin', origin: 'http://localhost:8080' }), 200, 'its own page')
  t.equal(await ask('GET', { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }), 200, 'a typed address')
  t.equal(await ask('PUT', { origin: 'http://localhost:8080' }), 200, 'its own page, without Fetch Metadata')
  t.equal(await ask('PUT', { origin: 'https://files.example.org' }), 200, 'its own page by the public URL')
  const proxied = { origin: 'http://a.example', 'x-forwarded-host': 'a.example' }
  t.equal(await ask('PUT', proxied, '127.0.0.2'), 200, 'its own page by the name that a trusted proxy reports')
})

t.test('an operator who opens the server to others lets it be called by any name, but not its status', async (t) => {
  const { app } = build(t, true)
  t.equal((await app.inject({ url: '/overlay/x', headers: { host: 'files.example' } })).statusCode, 200)
  t.equal((await app.inject({ url: '/-/status', headers: { host: 'files.example' } })).statusCode, 404)
})

t.test('garbage costs one connection and a counter', async (t) => {
  const { app, counters } = build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const requests: [what: string, text: string, status: RegExp][] = [
    ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      'two lengths',
      'PUT /overlay/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    [
      'a length and chunks',
      'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    ['a header without end', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    [
      'a length beyond numbers',
      `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${'9'.repeat(40)}\r\n\r\n`,
      /^HTTP\/1\.1 400 /,
    ],
  ]
  for (const [what, text, says] of requests) t.match(await exchange(port, text), says, what)
  t.equal(counters.clientErrors, requests.length)
  const bad = 'GET /overlay/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  t.match(await exchange(port, bad), /^HTTP\/1\.1 400 /, 'a percent sign that escapes nothing')
  t.equal(counters.badRequests, 1)
  const good = 'GET /overlay/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  t.match(await exchange(port, good), /^HTTP\/1\.1 200 /, 'and the server goes on')
})

t.test('a client that falls silent within a request is cut off, one that waits for the server is not', async (t) => {
  const counters = newHttpCounters()
  const gate = Promise.withResolvers<void>()
  const server = createServer(async (request, response) => {
    if (request.url === '/slow') await gate.promise
    if (request.url !== '/upload') response.end('done')
  })
  limitConnections(server, counters, undefined, 50)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const slow = exchange(port, 'GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const stalled = await exchange(port, 'PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc')
  t.equal(stalled, '')
  t.equal(counters.stalled, 1)
  gate.resolve()
  t.match(await slow, /^HTTP\/1\.1 200 .*done/s)
  t.equal(counters.stalled, 1)
})
