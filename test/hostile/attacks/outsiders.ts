import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { NLM, NLM_PROCEDURES, NLM_STATUS, NlmClient, type NlmLock, NSM, writeLock } from '../../helpers/nlm-client.ts'
import { authSys, callMessage, RpcClient, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { ADDRESSES, exportedClient, outsider } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { closed, http, httpConnect, openMany, stillOpen } from '../raw-http.ts'
import type { Target } from '../target.ts'

const ROOT = authSys(0, 0)
/** Longer than any connection that says nothing of use may be kept. */
const LONGEST_MS = 75_000

/** A lock of one byte. */
function lockAt(handle: Buffer, svid: number, offset = 0): NlmLock {
  return { handle, owner: `owner-${svid}`, svid, offset: BigInt(offset), length: 1n }
}

/** A server with a file to lock, and its handle. */
async function lockable(arena: Arena): Promise<{ target: Target; handle: Buffer }> {
  const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
  const nfs = await target.nfs()
  const handle = await nfs.walk(await nfs.mount(), 'many/0aaaaaaaaaaa')
  await nfs.close()
  return { target, handle }
}

async function locker(target: Target, address: string, name: string, localPort?: number): Promise<NlmClient> {
  return new NlmClient(await target.rpc(address, localPort), name, ROOT)
}

/** Says that `name` at `address` has booted, from a port as only root has it, or not. */
async function notify(target: Target, address: string, name: string, localPort: number | undefined): Promise<void> {
  const rpc = await target.rpc(address, localPort)
  await rpc.call([NSM, 1, 6], ROOT, new XdrWriter().string(name).u32(99).bytes())
  await rpc.close()
}

const messages: Attack = {
  name: 'nlm-msg-calls',
  by: 'outsider',
  what: '2,000 TEST_MSG calls of an outsider whose portmapper takes connections and never answers',
  quick: true,
  async run(arena) {
    const { target, handle } = await lockable(arena)
    const held: Socket[] = []
    const silent = createServer((socket) => {
      held.push(socket)
      socket.on('error', () => socket.destroy())
    })
    silent.listen(111, ADDRESSES.outsider)
    arena.defer(() => {
      silent.close()
      for (const socket of held) socket.destroy()
    })
    let most = 0
    const before = target.meter.descriptors()
    const timer = setInterval(() => {
      most = Math.max(most, target.meter.descriptors() - before)
    }, 20)
    await arena.underLoad(target, async () => {
      const rpc = await target.rpc(ADDRESSES.outsider)
      const args = writeLock(new XdrWriter().opaque(Buffer.alloc(8)).u32(1), 'outsider', lockAt(handle, 1)).bytes()
      const calls = Array.from({ length: arena.size(2000, 500) }, (_, i) =>
        record(callMessage(i + 1, [NLM, 4, NLM_PROCEDURES.TEST_MSG], ROOT, args)),
      )
      rpc.socket.write(Buffer.concat(calls))
      await sleep(2000)
      await rpc.close()
    })
    clearInterval(timer)
    arena.figure('descriptors for an outsider', most, '', 24)
  },
}

/** Connections that say a little now and then, and never anything of use. */
async function drip(arena: Arena, target: Target, port: number, count: number, first: string): Promise<void> {
  let sockets: Socket[] = []
  await arena.underLoad(target, async () => {
    sockets = await openMany(port, count, (i) => outsider(i % 64))
    for (const socket of sockets) socket.write(first)
    for (let i = 0; i < 4; i++) {
      await sleep(arena.size(1000, 400))
      for (const socket of sockets) if (!socket.destroyed) socket.write('\0')
    }
  })
  arena.figure('connections held by outsiders', stillOpen(sockets), '')
  // They go on dripping until they are cut off.
  const startedMs = performance.now()
  const atMost = arena.quick ? 0 : LONGEST_MS
  while (stillOpen(sockets) > 0 && performance.now() - startedMs < atMost) {
    await sleep(500)
    for (const socket of sockets) if (!socket.destroyed) socket.write('\0')
  }
  if (!arena.quick)
    arena.figure('until all were cut off', (performance.now() - startedMs) / 1000, 's', LONGEST_MS / 1000)
  for (const socket of sockets) socket.destroy()
  await Promise.all(sockets.map(closed))
}

const drippingNfs: Attack = {
  name: 'dripping-nfs',
  by: 'outsider',
  what: '1,100 connections of 64 outsiders to the NFS port, a byte of a record each now and then',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
    await drip(arena, target, target.nfsPort!, 1100, '\x80\0\x04\0')
  },
}

const drippingPortmap: Attack = {
  name: 'dripping-portmap',
  by: 'outsider',
  what: '400 connections of 64 outsiders to the portmapper, a byte of a record each now and then',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags: ['--portmap'] })
    const asked = (async () => {
      await sleep(2500)
      const rpc = await RpcClient.connect(111, undefined, ADDRESSES.newcomer)
      const port = await rpc.call([100000, 2, 3], ROOT, new XdrWriter().u32(100003).u32(3).u32(6).u32(0).bytes())
      await rpc.close()
      return port.u32()
    })().catch((error) => String(error))
    await drip(arena, target, 111, 400, '\x80\0\x04\0')
    arena.check('the portmapper answers a client meanwhile', (await asked) === target.nfsPort, await asked)
  },
}

const drippingHttp: Attack = {
  name: 'dripping-http',
  by: 'outsider',
  what: '4,200 connections that send the head of a request byte by byte and keep the connection after the 408',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
    await drip(arena, target, target.webdavPort!, arena.size(4200, 1500), 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ')
  },
}

const grantedRes: Attack = {
  name: 'granted-res-guesses',
  by: 'outsider',
  what: 'GRANTED_RES with counted cookies takes a lock away from a client that was just granted it',
  quick: true,
  async run(arena) {
    const { target, handle } = await lockable(arena)
    const first = await locker(target, ADDRESSES.attacker, 'first')
    const waiter = await locker(target, ADDRESSES.victim, 'waiter')
    await first.lock(lockAt(handle, 1))
    const status = await waiter.lock(lockAt(handle, 2), { block: true })
    await first.unlock(lockAt(handle, 1))
    const rpc = await target.rpc(ADDRESSES.outsider)
    for (let cookie = 0; cookie < 2000; cookie++) {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(cookie)
      const args = new XdrWriter().opaque(bytes).u32(NLM_STATUS.DENIED).bytes()
      await rpc.call([NLM, 4, NLM_PROCEDURES.GRANTED_RES], ROOT, args).catch(() => undefined)
    }
    const asked = await first.test(lockAt(handle, 1)).catch((error) => String(error))
    const kept = typeof asked !== 'string' && asked.status === NLM_STATUS.DENIED
    arena.check('the lock was waited for', status === NLM_STATUS.BLOCKED, status)
    arena.check(
      'the client keeps its lock',
      kept,
      JSON.stringify(asked, (_, v) => (typeof v === 'bigint' ? Number(v) : v)),
    )
    await Promise.all([first.rpc.close(), waiter.rpc.close(), rpc.close()])
  },
}

/** Somebody makes up `count` names of callers; a client boots afterwards, and its locks have to go. */
function madeUpCallers(by: 'outsider' | 'client', address: string): Attack {
  return {
    name: `tests-of-made-up-callers-by-${by === 'client' ? 'a-client' : 'an-outsider'}`,
    by,
    what: '4,200 TESTs by made-up callers push a client off the table of hosts; then it boots and says so',
    quick: by === 'client',
    async run(arena) {
      const { target, handle } = await lockable(arena)
      const victim = await locker(target, ADDRESSES.victim, 'victim', 901)
      arena.check('the client has its lock', (await victim.lock(lockAt(handle, 1))) === NLM_STATUS.GRANTED)
      const rpc = await target.rpc(address)
      const calls = Array.from({ length: 4200 }, (_, i) => {
        const args = writeLock(
          new XdrWriter().opaque(Buffer.alloc(8)).u32(1),
          `made-up-${i}`,
          lockAt(handle, i),
        ).bytes()
        return record(callMessage(i + 1, [NLM, 4, NLM_PROCEDURES.TEST], ROOT, args))
      })
      await arena.underLoad(target, async () => {
        rpc.socket.write(Buffer.concat(calls))
        await sleep(1500)
      })
      await rpc.close()
      await victim.rpc.close()
      await notify(target, ADDRESSES.victim, 'victim', 902)
      const next = await locker(target, ADDRESSES.newcomer, 'next')
      const status = await next.lock(lockAt(handle, 2))
      arena.check('locks of the client that booted are free', status === NLM_STATUS.GRANTED, `status ${status}`)
      await next.rpc.close()
    },
  }
}

/** A directory with a `getent` that notes that it was started. */
function countingGetent(arena: Arena): { path: string; started: () => number } {
  const dir = arena.folder('bin')
  const notes = join(arena.dir, 'getent-started')
  writeFileSync(join(dir, 'getent'), `#!/bin/sh\necho x >> '${notes}'\necho "user$2:x:$2:100::/:/bin/sh"\n`)
  writeFileSync(join(dir, 'id'), '#!/bin/sh\necho 100\n')
  for (const name of ['getent', 'id']) chmodSync(join(dir, name), 0o755)
  return {
    path: `${dir}:${process.env.PATH}`,
    started: () => (existsSync(notes) ? readFileSync(notes, 'latin1').length / 2 : 0),
  }
}

const madeUpUids: Attack = {
  name: 'made-up-uids',
  by: 'outsider',
  what: 'calls of 2,000 made-up users with --manage-gids: each would start a process that looks them up',
  quick: false,
  async run(arena) {
    const getent = countingGetent(arena)
    const target = await arena.start({
      overlay: arena.overlay(arena.fixtures.names(10)),
      flags: ['--manage-gids'],
      env: { PATH: getent.path },
    })
    const nfs = await target.nfs()
    const root = await nfs.mount()
    await nfs.close()
    const before = getent.started()
    const send = async (address: string, count: number, firstUid: number) => {
      const rpc = await target.rpc(address)
      const calls = Array.from({ length: count }, (_, i) => {
        const what = [100003, 3, 1] as const
        const args = new XdrWriter().opaque(root).bytes()
        return record(callMessage(i + 1, what, authSys(firstUid + i, 100), args))
      })
      rpc.socket.write(Buffer.concat(calls))
      await sleep(1500)
      await rpc.close()
    }
    await arena.underLoad(target, () => send(ADDRESSES.outsider, 2000, 50_000))
    // The probe is one user.
    arena.figure('processes for an outsider', getent.started() - before, '', 3)
    const later = getent.started()
    await arena.underLoad(target, () => send(exportedClient(1), arena.size(500, 100), 90_000))
    arena.figure('processes for a client', getent.started() - later, '')
  },
}

const madeUpLocks: Attack = {
  name: 'locks-of-made-up-callers',
  by: 'client',
  what: 'one client takes as many locks as there are, by made-up callers; others want locks, and theirs after a restart',
  quick: false,
  async run(arena) {
    const lower = arena.fixtures.names(10)
    const overlay = arena.overlay(lower)
    let target = await arena.start({ overlay, flags: ['--lock-grace', '20'] })
    const nfs = await target.nfs()
    const handle = await nfs.walk(await nfs.mount(), 'many/0aaaaaaaaaaa')
    await nfs.close()
    const victim = await locker(target, ADDRESSES.victim, 'victim', 903)
    arena.check('a client has a lock', (await victim.lock(lockAt(handle, 1))) === NLM_STATUS.GRANTED)
    const rpc = await target.rpc(ADDRESSES.attacker)
    let xid = 1
    await arena.underLoad(
      target,
      async () => {
        for (let at = 0; at < arena.size(200_000, 5000); at += 1000) {
          const calls = Array.from({ length: 1000 }, (_, i) => {
            const client = new NlmClient(rpc, `made-up-${(at + i) % 6000}`, ROOT)
            const writer = new XdrWriter().opaque(Buffer.alloc(4))
            const args = client.lockArgs(writer, lockAt(handle, at + i, 2 * (at + i) + 10), {}).bytes()
            return record(callMessage(xid++, [NLM, 4, NLM_PROCEDURES.LOCK], ROOT, args))
          })
          await rpc.exchange(xid - 1, Buffer.concat(calls))
        }
      },
      { tries: 1 },
    )
    const other = await locker(target, ADDRESSES.newcomer, 'other')
    const status = await other.lock(lockAt(handle, 1, 1))
    arena.check('another client still gets a lock', status === NLM_STATUS.GRANTED, `status ${status}`)
    await Promise.all([rpc.close(), other.rpc.close(), victim.rpc.close()])
    await target.kill()
    target = await arena.start({ overlay, flags: ['--lock-grace', '20'] })
    const again = await locker(target, ADDRESSES.victim, 'victim', 904)
    const reclaimed = await again.lock(lockAt(handle, 1), { reclaim: true })
    arena.check(
      'the client gets its lock back after a restart',
      reclaimed === NLM_STATUS.GRANTED,
      `status ${reclaimed}`,
    )
    await again.rpc.close()
  },
}

const notifyFromOrdinaryPort: Attack = {
  name: 'notify-from-an-ordinary-port',
  by: 'local user',
  what: 'an ordinary user of a client says that it has booted, which would free all its locks',
  quick: true,
  async run(arena) {
    const { target, handle } = await lockable(arena)
    const victim = await locker(target, ADDRESSES.victim, 'victim', 905)
    arena.check('the client has its lock', (await victim.lock(lockAt(handle, 1))) === NLM_STATUS.GRANTED)
    await notify(target, ADDRESSES.victim, 'victim', undefined)
    const next = await locker(target, ADDRESSES.newcomer, 'next')
    const status = await next.lock(lockAt(handle, 2))
    arena.check('the client keeps its lock', status === NLM_STATUS.DENIED, `status ${status}`)
    await Promise.all([victim.rpc.close(), next.rpc.close()])
  },
}

/** Outsiders that come and go: connections for nothing. */
const churn: Attack = {
  name: 'outsiders-come-and-go',
  by: 'outsider',
  what: 'connections to all ports that are made and left as fast as possible for some seconds, by 250 outsiders',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
    await arena.underLoad(target, async () => {
      const until = performance.now() + 5000
      await Promise.all(
        Array.from({ length: 50 }, async (_, lane) => {
          for (let i = 0; performance.now() < until; i++) {
            const port = i % 2 === 0 ? target.nfsPort! : target.webdavPort!
            const socket = await httpConnect(port, outsider((lane * 5 + i) % 250)).catch(() => undefined)
            socket?.destroy()
            if (socket !== undefined) await closed(socket)
          }
        }),
      )
    })
    const { status } = await http(target.webdavPort!, { method: 'GET', path: '/overlay/small' })
    arena.check('it serves afterwards', status === 200, status)
  },
}

export const OUTSIDERS: readonly Attack[] = [
  messages,
  drippingNfs,
  drippingPortmap,
  drippingHttp,
  grantedRes,
  madeUpCallers('outsider', ADDRESSES.outsider),
  madeUpCallers('client', ADDRESSES.attacker),
  madeUpUids,
  madeUpLocks,
  notifyFromOrdinaryPort,
  churn,
]
