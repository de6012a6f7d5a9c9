import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { ANONYMOUS, Nfs4TestClient, op } from '../../helpers/nfs4-client.ts'
import { authSys, callMessage, RpcClient, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { exportedClient } from '../addresses.ts'
import type { Attack } from '../attack.ts'
import { closed, httpConnect } from '../raw-http.ts'
import { AS_ROOT } from '../target.ts'

const MIB = 1024 * 1024
const DELAY = 10008
const USER = authSys(1000, 1000)

async function clientAt(port: number, address: string): Promise<Nfs4TestClient> {
  return new Nfs4TestClient(await RpcClient.connect(port, undefined, address), USER, 2)
}

const unread: Attack = {
  name: 'nfs4-compounds-of-100-reads-unread',
  by: 'client',
  what: 'connections that ask for 100 MiB in one COMPOUND of version 4.0, again and again, and read nothing',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.large(1, 1)), flags: AS_ROOT })
    const operations = [
      op.putrootfh(),
      op.lookup('overlay'),
      op.lookup('1'),
      ...Array.from({ length: 100 }, () => op.read(ANONYMOUS, 0, MIB)),
    ]
    const args = new XdrWriter().string('').u32(0).u32(operations.length)
    for (const { number, args: write } of operations) {
      args.u32(number)
      write?.(args)
    }
    const calls = Buffer.concat(
      Array.from({ length: 8 }, (_, i) => record(callMessage(i + 1, [100003, 4, 1], USER, args.bytes()))),
    )
    await arena.underLoad(target, async () => {
      const sockets: Socket[] = []
      for (let i = 0; i < arena.size(1000, 150); i++) {
        const socket = await httpConnect(target.nfsPort!, exportedClient(i))
        socket.pause()
        socket.write(calls)
        sockets.push(socket)
      }
      await sleep(arena.size(4000, 1500))
      for (const socket of sockets) socket.destroy()
      await Promise.all(sockets.map(closed))
    })
  },
}

const sessions: Attack = {
  name: 'nfs4-clients-and-sessions-without-end',
  by: 'client',
  what: 'one machine that makes clients with sessions, and fills their slots with replies to be kept',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.large(1, 1)), flags: AS_ROOT })
    await arena.underLoad(target, async () => {
      const one = await clientAt(target.nfsPort!, exportedClient(0))
      let made = 0
      let refused = 0
      for (let i = 0; i < arena.size(4000, 1500); i++) {
        try {
          await one.exchangeId(`client ${i} ${'x'.repeat(900)}`)
          await one.createSession({ requests: 64 })
          made++
          for (let slot = 0; slot < 4; slot++) await one.compound([op.putrootfh(), op.getfh()], { slot, cache: true })
        } catch (error) {
          if ((error as { status?: number }).status === DELAY) refused++
        }
      }
      const other = await clientAt(target.nfsPort!, exportedClient(1))
      await other.exchangeId('another machine')
      await other.createSession({ requests: 64 })
      const { status } = await other.compound([op.putrootfh()])
      arena.check('another machine gets a session', status === 0, `${status}; ${made} made, ${refused} refused`)
      arena.check('the machine is refused in time', refused > 0, `${refused} refused`)
      await other.close()
      await one.close()
    })
  },
}

export const NFS4: readonly Attack[] = [unread, sessions]
