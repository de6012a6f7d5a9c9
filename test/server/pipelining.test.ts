import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { buildApp } from '../../server/app.ts'
import type { ServerStatus } from '../../server/status.ts'

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`

/** A server whose answers to `/held/N` wait until they are let go, and a connection to it. */
async function serve(t: Test) {
  const status = (): ServerStatus => {
    throw new Error('nobody asks')
  }
  const { app } = buildApp({ log: pino({ level: 'silent' }), anyHost: false, status })
  const begun: string[] = []
  const held = new Map<string, () => void>()
  app.get('/held/:name', async (request) => {
    begun.push(request.url)
    await new Promise<void>((resolve) => held.set(request.url, resolve))
    return request.url
  })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return { app, begun, held, socket }
}

t.test('requests that are sent ahead begin one after the other, and are answered in order', async (t) => {
  const { begun, held, socket } = await serve(t)
  let received = ''
  socket.on('data', (data) => {
    received += data
  })
  const paths = ['/held/1', '/held/2', '/held/3']
  socket.write(paths.map(GET).join(''))
  for (const [i, path] of paths.entries()) {
    while (!held.has(path)) await new Promise((resolve) => setImmediate(resolve))
    t.same(begun, paths.slice(0, i + 1))
    held.get(path)?.()
  }
  while (!received.endsWith('/held/3')) await once(socket, 'data')
  t.same(
    [...received.matchAll(/\r\n\r\n(\/held\/\d)/g)].map(([, path]) => path),
    paths,
  )
})

t.test('a connection that sends many ahead is closed, and nothing of it begins any more', async (t) => {
  const { begun, held, socket } = await serve(t)
  socket.on('error', () => socket.destroy())
  socket.write(Array.from({ length: 40 }, (_, i) => GET(`/held/${i}`)).join(''))
  await once(socket, 'close')
  held.get('/held/0')?.()
  await new Promise((resolve) => setImmediate(resolve))
  t.same(begun, ['/held/0'])
})
