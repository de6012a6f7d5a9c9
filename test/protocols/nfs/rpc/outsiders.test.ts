import { once } from 'node:events'
import t from 'tap'
import { callMessage, type RpcClient, record, XdrWriter } from '../../../helpers/rpc-client.ts'
import { ECHO, PROGRAM, withRpc } from './rpc-fixture.ts'

const CLIENT = '127.0.0.1'
const OUTSIDER = '127.0.0.2'
const settings = {
  isClient: (address: string) => address === CLIENT,
  maxConnections: 64,
  idleMs: 600_000,
  stallMs: 600_000,
}

const echo = (client: RpcClient) =>
  client.call([PROGRAM, 2, ECHO], undefined, new XdrWriter().opaque(Buffer.from('hello')).bytes())

/** Resolves when the server has closed the connection. */
async function closedByServer({ socket }: RpcClient): Promise<void> {
  if (!socket.closed) await once(socket, 'close')
}

t.test('an address without an export has eight connections, others are not touched', async (t) => {
  await withRpc(
    t,
    async ({ connect, server, complaints }) => {
      const kept = []
      for (let i = 0; i < 8; i++) kept.push(await connect(undefined, OUTSIDER))
      for (const client of kept) await echo(client)
      await closedByServer(await connect(undefined, OUTSIDER))
      t.equal(server.counters.connectionsRefused, 1)
      for (let i = 0; i < 20; i++) await echo(await connect(undefined, CLIENT))
      for (const client of kept) await echo(client)
      t.same(complaints, [], 'and nothing is logged for it')
    },
    settings,
  )
})

t.test('addresses without an export together have an eighth of all connections: the oldest makes room', async (t) => {
  await withRpc(
    t,
    async ({ connect, server }) => {
      const clients = []
      for (let i = 0; i < 8; i++) clients.push(await connect(undefined, `127.0.1.${i + 1}`))
      const last = await connect(undefined, '127.0.1.99')
      await echo(last)
      await closedByServer(clients[0]!)
      await echo(clients[1]!)
      t.equal(server.counters.outsidersClosed, 1)
    },
    settings,
  )
})

t.test('a connection of an address without an export lives for 30 seconds, however busy it is', async (t) => {
  await withRpc(
    t,
    async ({ connect, server, clock }) => {
      const exported = await connect(undefined, CLIENT)
      const outsider = await connect(undefined, OUTSIDER)
      clock.nowMs = 29_000
      await echo(outsider)
      clock.nowMs = 30_000
      await closedByServer(outsider)
      t.equal(server.counters.outsidersClosed, 1)
      await echo(exported)
    },
    settings,
  )
})

t.test('a large record of an address without an export closes its connection before it is received', async (t) => {
  await withRpc(
    t,
    async ({ connect, server }) => {
      const args = new XdrWriter().opaque(Buffer.alloc(20_000)).bytes()
      const call = record(callMessage(1, [PROGRAM, 2, ECHO], undefined, args))
      const outsider = await connect(undefined, OUTSIDER)
      outsider.socket.on('error', () => outsider.socket.destroy())
      outsider.socket.write(call.subarray(0, 1000))
      await closedByServer(outsider)
      t.equal(server.counters.garbage, 1)
      const exported = await connect(undefined, CLIENT)
      await exported.call([PROGRAM, 2, ECHO], undefined, args)
    },
    settings,
  )
})
