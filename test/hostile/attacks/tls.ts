import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { TestAuthority, writePair } from '../../helpers/certificates.ts'
import { authSys, callMessage, RpcClient, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { ADDRESSES, exportedClient, outsider } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { closed, httpConnect, openMany, requestBytes, stillOpen } from '../raw-http.ts'
import { AS_ROOT, type Target } from '../target.ts'
import { clientHello, enlarged, type Forger, forge } from '../tls-forge.ts'

const MIB = 1024 * 1024
/** What is sent at once by whoever floods. */
const MOST_BYTES = 256 * 1024
const HANDSHAKE = 22
const APPLICATION = 23
const PROBE = record(callMessage(1, [100003, 3, 0], { flavor: 7, body: Buffer.alloc(0) }))

/** A server with TLS on both doors, which knows the certificates of an authority. */
async function secured(arena: Arena, lower: string = arena.fixtures.names(10)): Promise<Target> {
  const authority = await TestAuthority.make()
  const pair = writePair(arena.dir, 'server', await authority.server())
  const ca = arena.write('ca.pem', authority.cert, 0o644)
  return await arena.start({
    overlay: arena.overlay(lower),
    flags: [...AS_ROOT, '--tls', pair, '--tls-client-ca', ca],
  })
}

/** A connection to NFS that was told to begin TLS. @throws Error it is refused */
async function started(target: Target, address: string): Promise<Socket> {
  const socket = await httpConnect(target.nfsPort!, address)
  socket.write(PROBE)
  await Promise.race([once(socket, 'data').catch(() => undefined), closed(socket)])
  socket.resume()
  return socket
}

async function destroyAll(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) socket.destroy()
  await Promise.all(sockets.map(closed))
}

/** Sends all of it at once, unless the server closes the connection, and gives it a moment. Returns how many bytes were sent. */
async function flood({ raw }: Forger, bytes: Buffer): Promise<number> {
  raw.write(bytes)
  await Promise.race([closed(raw), sleep(300)])
  return raw.bytesWritten
}

/** As many of `make` as fit into so many bytes. */
function burstOf(make: () => Buffer, most: number): Buffer {
  const parts: Buffer[] = []
  for (let bytes = 0; bytes < most; ) {
    const part = make()
    parts.push(part)
    bytes += part.length
  }
  return Buffer.concat(parts)
}

const halfOpen: Attack = {
  name: 'tls-half-open-handshakes',
  by: 'outsider',
  what: '4,000 connections to both doors that begin a handshake and never go on',
  quick: true,
  async run(arena) {
    const target = await secured(arena)
    const hello = await clientHello({ ALPNProtocols: ['http/1.1'] })
    const nfsHello = await clientHello({ ALPNProtocols: ['sunrpc'], minVersion: 'TLSv1.3' })
    const each = arena.size(2000, 300)
    let stay = 0
    await arena.underLoad(target, async () => {
      const web = await openMany(target.webdavPort!, each, (i) => outsider(i % 400))
      for (const socket of web) socket.write(hello)
      const nfs: Socket[] = []
      for (let i = 0; i < each; i++) {
        const socket = await started(target, outsider(i % 400)).catch(() => undefined)
        if (socket === undefined) continue
        socket.write(nfsHello)
        nfs.push(socket)
      }
      await sleep(arena.size(5000, 1500))
      stay = stillOpen(web) + stillOpen(nfs)
      await destroyAll([...web, ...nfs])
    })
    arena.figure('handshakes that stay', stay, '')
  },
}

const byteByByte: Attack = {
  name: 'tls-handshakes-byte-by-byte',
  by: 'outsider',
  what: '2,000 connections to both doors that send a handshake a byte at a time and never come to its end',
  quick: true,
  async run(arena) {
    const target = await secured(arena)
    const hello = await clientHello({ ALPNProtocols: ['http/1.1'] })
    let sockets: Socket[] = []
    const begun = performance.now()
    await arena.underLoad(target, async () => {
      const each = arena.size(1000, 200)
      await destroyAll(sockets)
      sockets = await openMany(target.webdavPort!, each, (i) => outsider(i % 64))
      for (let i = 0; i < each; i++) {
        const socket = await started(target, outsider(i % 64)).catch(() => undefined)
        if (socket !== undefined) sockets.push(socket)
      }
      for (let at = 0; at < arena.size(40, 10); at++) {
        for (const socket of sockets) if (!socket.destroyed) socket.write(hello.subarray(at, at + 1))
        await sleep(200)
      }
    })
    for (let at = 40; stillOpen(sockets) > 0 && performance.now() - begun < 60_000; at++) {
      for (const socket of sockets) if (!socket.destroyed) socket.write(hello.subarray(at, at + 1))
      await sleep(500)
    }
    arena.check('all are cut off', stillOpen(sockets) === 0, stillOpen(sockets))
    await destroyAll(sockets)
  },
}

/** Begins handshakes from `address` as fast as the server accepts them, for `ms`. Returns how many. */
async function handshakes(port: number, hello: Buffer, address: string, ms: number): Promise<number> {
  let count = 0
  const one = async () => {
    for (const endMs = performance.now() + ms; performance.now() < endMs; count++) {
      const socket = await httpConnect(port, address).catch(() => undefined)
      if (socket === undefined) continue
      socket.write(hello)
      await Promise.race([once(socket, 'data'), closed(socket), sleep(2000)]).catch(() => undefined)
      socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: 32 }, one))
  return count
}

const fullHandshakes: Attack = {
  name: 'tls-handshakes-of-one-address',
  by: 'outsider',
  what: 'one address begins handshakes as fast as it can, which costs it nothing and the server two computations with keys each',
  quick: true,
  async run(arena) {
    const target = await secured(arena)
    const hello = await clientHello({ ALPNProtocols: ['http/1.1'] })
    const ms = arena.size(5000, 2000)
    let [count, cpuMs, tries] = [0, 0, 0]
    await arena.underLoad(target, async () => {
      const before = target.meter.cpuMs()
      count += await handshakes(target.webdavPort!, hello, ADDRESSES.outsider, ms)
      cpuMs += target.meter.cpuMs() - before
      tries++
    })
    arena.figure('handshakes', count / ((tries * ms) / 1000), '/s')
    arena.figure('processor time of the server', cpuMs / (tries * ms), 'cores')
  },
}

/** Floods of records after a handshake, on one connection after the other. `make` returns what makes the next record. */
function recordFlood(
  name: string,
  what: string,
  version: 'TLSv1.2' | 'TLSv1.3',
  isCutOff: boolean,
  make: (forger: Forger) => Promise<() => Buffer>,
): Attack {
  return {
    name,
    by: 'outsider',
    what,
    quick: true,
    async run(arena) {
      const target = await secured(arena)
      let [bytes, connections, cutOff, cpuMs] = [0, 0, 0, 0]
      await arena.underLoad(target, async () => {
        const before = target.meter.cpuMs()
        const endMs = performance.now() + arena.size(6000, 2000)
        do {
          const forger = await forge(await httpConnect(target.webdavPort!, ADDRESSES.outsider), version)
          const next = await make(forger)
          // Making them takes time, so it is done before the first is sent.
          bytes += await flood(forger, burstOf(next, arena.size(MOST_BYTES, MOST_BYTES / 32)))
          connections++
          if (forger.raw.destroyed) cutOff++
          forger.raw.destroy()
        } while (performance.now() < endMs)
        cpuMs += target.meter.cpuMs() - before
      })
      arena.figure('records', bytes / 1024, 'KiB')
      arena.figure('processor time of the server', cpuMs / 1000, 's')
      if (isCutOff) arena.check('each connection is cut off', cutOff === connections, `${cutOff} of ${connections}`)
    },
  }
}

const renegotiations = recordFlood(
  'tls-renegotiations',
  'connections that ask for nothing but new handshakes (TLS 1.2)',
  'TLSv1.2',
  false,
  async (forger) => {
    const hello = (await clientHello({ maxVersion: 'TLSv1.2' })).subarray(5)
    return () => forger.record(HANDSHAKE, hello)
  },
)

const KEY_UPDATE_REQUESTED = Buffer.from([24, 0, 0, 1, 1])
const keyUpdates = recordFlood(
  'tls-key-updates',
  'connections that send nothing but KeyUpdates which ask for others (TLS 1.3)',
  'TLSv1.3',
  true,
  async (forger) => () => {
    const bytes = forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED)
    forger.updateKey()
    return bytes
  },
)

const emptyRecords = recordFlood(
  'tls-empty-records',
  'connections that send nothing but records without content (TLS 1.3)',
  'TLSv1.3',
  false,
  async (forger) => () => forger.record(APPLICATION, Buffer.alloc(0)),
)

const largestHello: Attack = {
  name: 'tls-largest-client-hello',
  by: 'outsider',
  what: '400 handshakes that begin with 64 KiB, 128 KiB and more than is allowed, on both doors',
  quick: true,
  async run(arena) {
    const target = await secured(arena)
    const hello = await clientHello({ ALPNProtocols: ['http/1.1'] })
    const nfsHello = await clientHello({ ALPNProtocols: ['sunrpc'], minVersion: 'TLSv1.3' })
    const large = [enlarged(hello, 65_000), enlarged(enlarged(hello, 20_000), 40_000)]
    await arena.underLoad(target, async () => {
      const sockets = await openMany(target.webdavPort!, arena.size(400, 120), (i) => outsider(i % 64))
      for (const [i, socket] of sockets.entries()) socket.write(large[i % large.length] as Buffer)
      for (let i = 0; i < arena.size(100, 30); i++) {
        const socket = await started(target, outsider(i % 64)).catch(() => undefined)
        socket?.write(enlarged(nfsHello, 65_000))
        if (socket !== undefined) sockets.push(socket)
      }
      await sleep(arena.size(3000, 1000))
      await destroyAll(sockets)
    })
  },
}

const startTlsAgain: Attack = {
  name: 'starttls-again-and-again',
  by: 'outsider',
  what: 'connections that ask for TLS a hundred times, or again when they may begin, and no client of which ever begins',
  quick: true,
  async run(arena) {
    const target = await secured(arena)
    const hundred = Buffer.concat(Array.from({ length: 100 }, () => PROBE))
    let asked = 0
    await arena.underLoad(target, async () => {
      for (const endMs = performance.now() + arena.size(4000, 1500); performance.now() < endMs; ) {
        const some = await Promise.all(
          Array.from({ length: 32 }, async (_, i) => {
            const address = i % 2 === 0 ? outsider(asked % 64) : exportedClient(i)
            asked++
            if (i % 4 < 2) {
              const socket = await httpConnect(target.nfsPort!, address)
              socket.write(hundred)
              return socket
            }
            const socket = await started(target, address)
            socket.write(PROBE)
            return socket
          }),
        )
        await sleep(10)
        await destroyAll(some)
      }
    })
    arena.figure('connections', asked, '')
    const nfs = await target.nfs()
    arena.check('a client is served afterwards', (await nfs.getattr(await nfs.mount())).status === 0)
    await nfs.close()
  },
}

const garbage: Attack = {
  name: 'garbage-after-starttls',
  by: 'outsider',
  what: 'thousands of connections that ask for TLS and send garbage, with and without the look of a handshake',
  quick: true,
  async run(arena) {
    const target = await secured(arena)
    const noise = Buffer.from(Array.from({ length: 16_384 }, (_, i) => (i * 7919) & 255))
    const kinds = [
      Buffer.concat([Buffer.from([HANDSHAKE, 3, 1, 64, 0]), noise]),
      Buffer.concat([Buffer.from([HANDSHAKE, 3, 1, 0, 4, 1, 255, 255, 255]), noise]),
      Buffer.concat([Buffer.from([HANDSHAKE, 9, 9]), noise]),
      noise,
    ]
    let sent = 0
    await arena.underLoad(target, async () => {
      for (const endMs = performance.now() + arena.size(4000, 1500); performance.now() < endMs; ) {
        const some = await Promise.all(
          Array.from({ length: 32 }, async () => {
            const socket = await started(target, outsider(sent % 64))
            if (!socket.destroyed) socket.write(kinds[sent++ % kinds.length] as Buffer)
            return socket
          }),
        )
        await sleep(5)
        await destroyAll(some)
      }
    })
    arena.figure('connections', sent, '')
    arena.check('the log stays short', target.logBytes < 256 * 1024, `${target.logBytes} bytes`)
  },
}

const unread: Attack = {
  name: 'tls-unread-replies',
  by: 'client',
  what: 'encrypted connections that ask for 8 MiB each, over WebDAV and NFS, and read nothing',
  quick: true,
  async run(arena) {
    const target = await secured(arena, arena.fixtures.large(8, 1))
    const nfs = await target.nfs()
    const handle = await nfs.walk(await nfs.mount(), '1')
    await nfs.close()
    const read = new XdrWriter().opaque(handle).u64(0).u32(MIB).bytes()
    const calls = Buffer.concat(
      Array.from({ length: 8 }, (_, i) => record(callMessage(i + 1, [100003, 3, 6], authSys(1000, 1000), read))),
    )
    const gets = Buffer.concat(
      Array.from({ length: 8 }, (_, i) => requestBytes({ method: 'GET', path: `/overlay/${i + 1}` })),
    )
    const each = arena.size(300, 60)
    await arena.underLoad(target, async () => {
      const sockets: Socket[] = []
      for (let i = 0; i < each; i++) {
        const where = { host: '127.0.0.1', port: target.webdavPort!, localAddress: exportedClient(i) }
        const web = connectTls({ ...where, rejectUnauthorized: false })
        web.on('error', () => web.destroy())
        web.pause()
        web.write(gets)
        sockets.push(web)
        const rpc = await RpcClient.connect(target.nfsPort!, undefined, exportedClient(i)).catch(() => undefined)
        const socket = await rpc?.startTls({ rejectUnauthorized: false }).catch(() => undefined)
        if (socket === undefined) continue
        socket.pause()
        socket.write(calls)
        sockets.push(socket)
      }
      await sleep(arena.size(4000, 1500))
      await destroyAll(sockets)
    })
  },
}

export const TLS: readonly Attack[] = [
  halfOpen,
  byteByByte,
  fullHandshakes,
  renegotiations,
  keyUpdates,
  emptyRecords,
  largestHello,
  startTlsAgain,
  garbage,
  unread,
]
