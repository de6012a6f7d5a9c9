import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import t from 'tap'
import { register, unregister } from '../../../../protocols/nfs/rpc/rpcbind.ts'

const REGISTRATIONS = [
  { program: 100005, version: 3, port: 2049 },
  { program: 100003, version: 3, port: 2049 },
]

/** A portmapper that answers `answer` to every call and keeps what it was asked. */
async function withPortmapper(
  answer: (procedure: number) => number,
  test: (endpoint: { host: string; port: number }, asked: string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = []
  const server: Server = createServer((socket: Socket) => {
    socket.on('data', (call: Buffer) => {
      asked.push(call.toString('hex'))
      const reply = Buffer.alloc(32)
      const words = [0x8000_001c, call.readUInt32BE(4), 1, 0, 0, 0, 0, answer(call.readUInt32BE(24))]
      for (const [i, word] of words.entries()) reply.writeUInt32BE(word, 4 * i)
      socket.write(reply.subarray(0, 10))
      socket.write(reply.subarray(10))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await test({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, asked)
  } finally {
    server.close()
  }
}

t.test('programs are registered in place of what was there, and taken back', async (t) => {
  await withPortmapper(
    () => 1,
    async (endpoint, asked) => {
      await register(REGISTRATIONS, [{ path: '/nonexistent/rpcbind.sock' }, endpoint])
      t.equal(asked.length, 4)
      const header = [0x8000_0038, 1, 0, 2, 100000, 2, 1]
      const set = [...header, 0, 0, 0, 0, 100005, 3, 6, 2049].map((word) => word.toString(16).padStart(8, '0'))
      t.equal(asked[2], set.join(''), 'PMAPPROC_SET, TCP')
      await unregister(REGISTRATIONS, [endpoint])
      t.equal(asked.length, 6)
      t.equal(asked[5].slice(48, 56), '00000002', 'PMAPPROC_UNSET')
    },
  )
})

t.test('a refusal and an rpcbind that is not there are told', async (t) => {
  await withPortmapper(
    (procedure) => (procedure === 1 ? 0 : 1),
    async (endpoint) => {
      await t.rejects(register(REGISTRATIONS, [endpoint]), /rpcbind refused program 100005 version 3/)
    },
  )
  await t.rejects(register(REGISTRATIONS, [{ path: '/nonexistent/rpcbind.sock' }]), /cannot reach rpcbind: .*ENOENT/)
})
