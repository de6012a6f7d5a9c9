import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { authSys, callMessage, RpcClient, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { exportedClient, outsider } from '../addresses.ts'
import type { Attack } from '../attack.ts'
import { closed, http, httpConnect, openMany, requestBytes } from '../raw-http.ts'
import { AS_ROOT } from '../target.ts'

const MIB = 1024 * 1024

function destroyAll(sockets: readonly Socket[]): Promise<unknown> {
  for (const socket of sockets) socket.destroy()
  return Promise.all(sockets.map(closed))
}

const zip: Attack = {
  name: 'zip-of-201000-files',
  by: 'client',
  what: 'a zip archive of 201,000 files, whose directory has to be kept until its end',
  quick: false,
  async run(arena) {
    const target = await arena.start({
      overlay: arena.overlay(arena.fixtures.tree(arena.size(201_000, 20_000))),
      flags: AS_ROOT,
    })
    await arena.underLoad(target, async () => {
      const { status, bytes } = await http(target.webdavPort!, {
        method: 'GET',
        path: '/overlay/tree/?archive=zip',
        keep: false,
      })
      arena.check('the archive is sent', status === 200 && bytes > 1_000_000, `${status}, ${bytes} bytes`)
    })
  },
}

const slowReaders: Attack = {
  name: 'propfind-slow-readers',
  by: 'client',
  what: 'eight PROPFINDs of 100,000 names whose answers are read 64 KiB a second',
  quick: false,
  async run(arena) {
    const target = await arena.start({
      overlay: arena.overlay(arena.fixtures.names(arena.size(100_000, 20_000))),
      flags: AS_ROOT,
    })
    await arena.underLoad(target, async () => {
      const readers = await Promise.all(
        Array.from({ length: 8 }, async () => {
          const socket = await httpConnect(target.webdavPort!)
          socket.write(requestBytes({ method: 'PROPFIND', path: '/overlay/many/', headers: { depth: '1' } }))
          socket.pause()
          const timer = setInterval(() => socket.read(64 * 1024), 1000)
          socket.on('close', () => clearInterval(timer))
          return socket
        }),
      )
      await sleep(arena.size(10_000, 3000))
      await destroyAll(readers)
    })
  },
}

const pendingBodies: Attack = {
  name: '1000-connections-with-1-mib-pending',
  by: 'client',
  what: '1,000 connections that each begin a PUT of 2 MiB, send 1 MiB of it at once and then nothing',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags: AS_ROOT })
    const count = arena.size(1000, 300)
    await arena.underLoad(target, async () => {
      const sockets = await openMany(target.webdavPort!, count, exportedClient)
      const piece = Buffer.alloc(MIB, 'x')
      for (const [i, socket] of sockets.entries()) {
        socket.write(`PUT /overlay/pending-${i} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${2 * MIB}\r\n\r\n`)
        socket.write(piece)
        if (i % 50 === 0) await sleep(20)
      }
      await sleep(arena.size(4000, 1500))
      await destroyAll(sockets)
    })
  },
}

const unreadAnswers: Attack = {
  name: '1000-connections-with-1-mib-unread',
  by: 'client',
  what: '1,000 connections that each GET files of 1 MiB and do not read the answers',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.large(8, 1)), flags: AS_ROOT })
    await arena.underLoad(target, async () => {
      const sockets = await openMany(target.webdavPort!, arena.size(1000, 300), exportedClient)
      for (const [i, socket] of sockets.entries()) {
        socket.pause()
        for (let k = 1; k <= 8; k++) socket.write(requestBytes({ method: 'GET', path: `/overlay/${k}` }))
        if (i % 50 === 0) await sleep(20)
      }
      await sleep(arena.size(4000, 1500))
      await destroyAll(sockets)
    })
  },
}

const unreadReads: Attack = {
  name: '1000-nfs-connections-with-1-mib-unread',
  by: 'client',
  what: '1,000 NFS connections of 200 clients that each ask for 8 MiB and read nothing',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.large(8, 1)), flags: AS_ROOT })
    const nfs = await target.nfs()
    const handle = await nfs.walk(await nfs.mount(), '1')
    await nfs.close()
    const read = new XdrWriter().opaque(handle).u64(0).u32(MIB).bytes()
    const calls = Buffer.concat(
      Array.from({ length: 8 }, (_, i) => record(callMessage(i + 1, [100003, 3, 6], authSys(1000, 1000), read))),
    )
    await arena.underLoad(target, async () => {
      const sockets: Socket[] = []
      for (let i = 0; i < arena.size(1000, 300); i++) {
        const socket = await httpConnect(target.nfsPort!, exportedClient(i))
        socket.pause()
        socket.write(calls)
        sockets.push(socket)
      }
      await sleep(arena.size(4000, 1500))
      await destroyAll(sockets)
    })
  },
}

const unfinishedWrites: Attack = {
  name: '1000-nfs-connections-with-1-mib-pending',
  by: 'client',
  what: '1,000 NFS connections of 200 clients that each send a WRITE of 1 MiB but for its last byte',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.large(1, 1)), flags: AS_ROOT })
    const nfs = await target.nfs()
    const handle = await nfs.walk(await nfs.mount(), '1')
    await nfs.close()
    const write = new XdrWriter().opaque(handle).u64(0).u32(MIB).u32(0).opaque(Buffer.alloc(MIB)).bytes()
    const call = record(callMessage(1, [100003, 3, 7], authSys(1000, 1000), write))
    await arena.underLoad(target, async () => {
      const sockets: Socket[] = []
      for (let i = 0; i < arena.size(1000, 300); i++) {
        const socket = await httpConnect(target.nfsPort!, exportedClient(i))
        socket.write(call.subarray(0, call.length - 1))
        sockets.push(socket)
      }
      await sleep(arena.size(4000, 1500))
      await destroyAll(sockets)
    })
  },
}

const outsidersRecords: Attack = {
  name: 'outsiders-with-1-mib-pending',
  by: 'outsider',
  what: '1,000 NFS connections of as many outsiders that each send 1 MiB of a record and not its end',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.large(1, 1)), flags: AS_ROOT })
    const part = Buffer.concat([
      Buffer.from([0x80, 0x10, 0, 0]),
      callMessage(1, [100003, 3, 7]),
      Buffer.alloc(MIB - 4096),
    ])
    await arena.underLoad(target, async () => {
      const sockets: Socket[] = []
      for (let i = 0; i < arena.size(1000, 300); i++) {
        const socket = await httpConnect(target.nfsPort!, outsider(i))
        socket.write(part)
        sockets.push(socket)
      }
      await sleep(arena.size(4000, 1500))
      await destroyAll(sockets)
    })
  },
}

const addresses: Attack = {
  name: 'every-address-is-remembered',
  by: 'outsider',
  what: 'calls and requests from 80,000 addresses, one after the other: the second half takes no more memory',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags: AS_ROOT })
    let at = 0
    const visit = async (count: number) => {
      for (const end = at + count; at < end; at += 50) {
        await Promise.all(
          Array.from({ length: 50 }, async (_, i) => {
            const rpc = await RpcClient.connect(target.nfsPort!, undefined, outsider(at + i))
            await rpc.call([100003, 3, 0], authSys(1000, 1000)).catch(() => undefined)
            await rpc.close()
          }),
        )
      }
    }
    await arena.underLoad(target, async () => {
      // Afterwards the heap has the size that visits need.
      await visit(arena.size(40_000, 1000))
      const before = target.meter.residentMiB()
      await visit(arena.size(40_000, 3000))
      arena.figure('grown by', Math.max(0, target.meter.residentMiB() - before), 'MiB', 60)
    })
  },
}

const credentials: Attack = {
  name: 'credentials-and-owners',
  by: 'client',
  what: '200,000 GETATTRs with as many made-up credentials of sixteen groups and long machine names',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags: AS_ROOT })
    const nfs = await target.nfs()
    const args = new XdrWriter().opaque(await nfs.mount()).bytes()
    await arena.underLoad(target, async () => {
      let xid = 1
      for (let round = 0; round < arena.size(200, 40); round++) {
        const calls = Array.from({ length: 1000 }, (_, i) => {
          const uid = round * 1000 + i
          const groups = Array.from({ length: 16 }, (_, g) => uid + g)
          return record(
            callMessage(xid++, [100003, 3, 1], authSys(uid, uid, groups, `machine-${uid}`.padEnd(255, 'm')), args),
          )
        })
        await nfs.rpc.exchange(xid - 1, Buffer.concat(calls))
      }
    })
    await nfs.close()
  },
}

export const MEMORY: readonly Attack[] = [
  zip,
  slowReaders,
  pendingBodies,
  unreadAnswers,
  unreadReads,
  unfinishedWrites,
  outsidersRecords,
  addresses,
  credentials,
]
