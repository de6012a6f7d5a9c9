import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { buildApp } from '../../server/app.ts'
import type { ServerStatus } from '../../server/status.ts'

/** A server whose direct handler takes `/direct` and below. */
async function serve(t: Test) {
  const status = () => ({}) as ServerStatus
  const { app, direct, counters } = buildApp({ log: pino({ level: 'silent' }), anyHost: false, status })
  app.all('/*', async (request) => `fastify ${request.url}`)
  const held: (() => void)[] = []
  const begun: string[] = []
  direct.goTo({
    handles: ({ url = '' }: IncomingMessage) => url.startsWith('/direct'),
    execute: ({ url = '' }: IncomingMessage, res: ServerResponse) => {
      begun.push(url)
      const answer = () => void res.end(`direct ${url}`)
      if (url === '/direct/held') held.push(answer)
      else answer()
    },
  })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers })
    return `${response.status} ${await response.text()}`
  }
  return { app, direct, counters, port, get, held, begun }
}

/** Sends a request as it is, and returns the response. */
async function send(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.on('data', (data) => {
    received += data
  })
  socket.end(request)
  await once(socket, 'close')
  return received
}

t.test('requests that the handler wants pass Fastify, all others do not', async (t) => {
  const { get, direct } = await serve(t)
  t.equal(await get('/direct/a'), '200 direct /direct/a')
  t.equal(await get('/other'), '200 fastify /other')
  direct.goTo(undefined)
  t.equal(await get('/direct/a'), '200 fastify /direct/a')
})

t.test('a request of a foreign page or for a foreign name is refused as by Fastify, and counted once', async (t) => {
  const { get, port, counters } = await serve(t)
  t.match(await get('/direct/a', { origin: 'http://evil.example' }), '403 A page of another origin')
  t.equal(counters.foreignPages, 1)
  t.match(
    await send(port, 'GET /direct/a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 421 /,
  )
  t.equal(counters.foreignHosts, 1)
  t.match(
    await send(port, 'GET /direct/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    'direct /direct/a',
  )
  t.equal(counters.requests, 3)
})

t.test('requests that are sent ahead wait for the one before them', async (t) => {
  const { port, held, begun } = await serve(t)
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let received = ''
  socket.on('data', (data) => {
    received += data
  })
  socket.write(request('/direct/held') + request('/direct/b') + request('/c'))
  while (held.length === 0) await new Promise((resolve) => setImmediate(resolve))
  t.same(begun, ['/direct/held'])
  held[0]?.()
  while (!received.includes('fastify /c')) await once(socket, 'data')
  t.match(received, /direct \/direct\/held.*direct \/direct\/b.*fastify \/c/s)
})

t.test('no request passes Fastify any more when the server closes', async (t) => {
  const { app, port, held } = await serve(t)
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let received = ''
  socket.on('data', (data) => {
    received += data
  })
  socket.write('GET /direct/held HTTP/1.1\r\nHost: localhost\r\n\r\nGET /direct/b HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (held.length === 0) await new Promise((resolve) => setImmediate(resolve))
  const closed = app.close()
  await new Promise((resolve) => setImmediate(resolve))
  socket.write('GET /direct/late HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await new Promise((resolve) => setTimeout(resolve, 50))
  held[0]?.()
  while (!received.includes('503')) await once(socket, 'data')
  t.notMatch(received, '/direct/late')
  socket.destroy()
  await closed
})
