import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { record, XdrReader, XdrWriter } from './rpc-client.ts'

/** A call that a listener has got. */
export interface HeardCall {
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly args: XdrReader
}

/** Answers a call: the results, or undefined for no answer at all. */
export type Hear = (call: HeardCall) => Buffer | undefined

/** Listens for RPC calls on one port number, over TCP and UDP, as a client's portmapper, lock manager and status monitor do; independent of the server's code. */
export async function listenForCalls(host: string, hear: Hear): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const tcp = createServer((socket) => {
    sockets.add(socket)
    let received = Buffer.alloc(0)
    socket.on('error', () => socket.destroy())
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data])
      while (received.length >= 4 && received.length >= 4 + received.readUInt32BE(0) - 0x8000_0000) {
        const end = 4 + received.readUInt32BE(0) - 0x8000_0000
        const reply = answer(received.subarray(4, end), hear)
        received = received.subarray(end)
        if (reply) socket.write(record(reply))
      }
    })
  })
  tcp.listen(0, host)
  await once(tcp, 'listening')
  const { port } = tcp.address() as AddressInfo
  const udp = createSocket('udp4')
  udp.on('message', (message, from) => {
    const reply = answer(message, hear)
    if (reply) udp.send(reply, from.port, from.address)
  })
  udp.bind(port, host)
  await once(udp, 'listening')
  return {
    port,
    async close() {
      for (const socket of sockets) socket.destroy()
      tcp.close()
      udp.close()
      await once(tcp, 'close')
    },
  }
}

function answer(message: Buffer, hear: Hear): Buffer | undefined {
  const reader = new XdrReader(message)
  const xid = reader.u32()
  if (reader.u32() !== 0 || reader.u32() !== 2) throw new RangeError('not a call')
  const [program, version, procedure] = [reader.u32(), reader.u32(), reader.u32()]
  for (let i = 0; i < 2; i++) {
    reader.u32()
    reader.opaque()
  }
  const results = hear({ program, version, procedure, args: reader })
  return results && new XdrWriter().u32(xid).u32(1).u32(0).u32(0).u32(0).u32(0).raw(results).bytes()
}
