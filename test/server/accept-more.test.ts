import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import { acceptMore } from '../../server/accept-more.ts'

const log = { error: (problem: unknown) => t.fail(String(problem)) }
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

/** How many turns of the event loop a server takes to accept `count` connections that wait for it. */
async function turnsToAccept(count: number, most: number): Promise<number> {
  const accepted: Socket[] = []
  const server = createServer((socket) => accepted.push(socket.on('error', () => socket.destroy())))
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  const stop = acceptMore(server, {}, most, log)
  const { port } = server.address() as AddressInfo
  const clients = Array.from({ length: count }, () => connect({ host: '127.0.0.1', port }))
  let turns = 0
  for (; accepted.length < count && turns < 10_000; turns++) await nextTurn()
  for (const socket of [...clients, ...accepted]) socket.destroy()
  await Promise.all([stop(), new Promise((resolve) => server.close(resolve))])
  return turns
}

t.test('connections that wait are accepted many in a turn', async (t) => {
  const turns = await turnsToAccept(300, 3600)
  t.ok(turns <= 40, `300 connections took ${turns} turns`)
})

t.test('a listener with few connections needs no descriptors for this, and accepts all of them', async (t) => {
  const turns = await turnsToAccept(20, 20)
  t.ok(turns >= 20, `20 connections took ${turns} turns`)
})

t.test('a server that has stopped refuses connections', async (t) => {
  const server = createServer()
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const stop = acceptMore(server, {}, 3600, log)
  await Promise.all([stop(), new Promise((resolve) => server.close(resolve))])
  const client = connect({ host: '127.0.0.1', port })
  const [error] = await once(client, 'error')
  t.equal(error.code, 'ECONNREFUSED')
})
