import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { type Handle, MOUNT } from '../helpers/nfs-client.ts'
import { NLM, NLM_PROCEDURES, NSM, PORTMAP } from '../helpers/nlm-client.ts'
import { authSys, callMessage, NO_AUTH, RpcClient, RpcRefusal, record, XdrWriter } from '../helpers/rpc-client.ts'
import { type NfsFixture, withNfs } from '../protocols/nfs/nfs-fixture.ts'

// Portmapper, MOUNT, lock manager and status monitor: golden bytes in both directions, over TCP and UDP, and every kind of damage to their arguments.

const ACCEPTED = '00000001 00000000 00000000 00000000 00000000'
const hex = (spaced: string): string => spaced.replaceAll(' ', '')
const args = () => new XdrWriter()
type What = [program: number, version: number, procedure: number]

/** A server whose portmapper has a free port, and the means to ask that. */
async function withPortmap(
  t: Test,
  test: (fixture: NfsFixture & { portmap: RpcClient; udpPort: number; smallPort: number }) => Promise<void>,
  rules?: string,
): Promise<void> {
  await withNfs(
    t,
    [{ file: 'x' }],
    async (fixture) => {
      const { tcpPort, udpPort } = fixture.server.portmap!
      const portmap = await RpcClient.connect(tcpPort)
      try {
        const where = await portmap.call([PORTMAP, 2, 3], NO_AUTH, args().u32(MOUNT).u32(3).u32(17).u32(0).bytes())
        await test(Object.assign(Object.create(fixture), { portmap, udpPort, smallPort: where.u32() }))
      } finally {
        await portmap.close()
      }
    },
    { nfs: { portmap: { port: 0 }, wallMs: () => 1_767_225_600_999 }, ...(rules && { rules }) },
  )
}

/** Sends a message as a datagram and returns the answer. */
async function datagram(port: number, message: Buffer, from = '127.0.0.1'): Promise<string> {
  const socket = createSocket('udp4')
  socket.bind(0, from)
  await once(socket, 'listening')
  socket.send(message, port, '127.0.0.1')
  const [reply] = (await once(socket, 'message')) as [Buffer]
  socket.close()
  return reply.toString('hex')
}

t.test('the portmapper in three versions', async (t) => {
  await withPortmap(t, async ({ portmap, udpPort, server, smallPort }) => {
    const ask = async (what: What, bytes: Buffer = Buffer.alloc(0)) =>
      (await portmap.exchange(9, record(callMessage(9, what, NO_AUTH, bytes)))).toString('hex')
    const golden = async (name: string, what: What, bytes: Buffer, results: string) =>
      t.equal(await ask(what, bytes), hex(`00000009 ${ACCEPTED} ${results}`), name)
    const port = server.port.toString(16).padStart(8, '0')
    const small = smallPort.toString(16).padStart(8, '0')
    const getPort = (program: number, version: number, protocol: number) =>
      args().u32(program).u32(version).u32(protocol).u32(0).bytes()
    for (const version of [2, 3, 4]) await golden(`NULL ${version}`, [PORTMAP, version, 0], Buffer.alloc(0), '')
    await golden('GETPORT NFS', [PORTMAP, 2, 3], getPort(100003, 3, 6), port)
    await golden('GETPORT NFS over UDP', [PORTMAP, 2, 3], getPort(100003, 3, 17), '00000000')
    await golden('GETPORT NFS version 4', [PORTMAP, 2, 3], getPort(100003, 4, 6), port)
    await golden('GETPORT MOUNT over UDP', [PORTMAP, 2, 3], getPort(100005, 3, 17), small)
    await golden('GETPORT NLM', [PORTMAP, 2, 3], getPort(100021, 4, 6), port)
    await golden('GETPORT NSM', [PORTMAP, 2, 3], getPort(100024, 1, 17), small)
    await golden('GETPORT of nothing', [PORTMAP, 2, 3], getPort(100011, 1, 17), '00000000')
    await golden('SET', [PORTMAP, 2, 1], getPort(100011, 1, 6), '00000000')
    await golden('UNSET', [PORTMAP, 2, 2], getPort(100003, 3, 6), '00000000')
    await golden('GETPORT after UNSET', [PORTMAP, 2, 3], getPort(100003, 3, 6), port)
    await t.rejects(portmap.call([PORTMAP, 2, 5]), /PROC_UNAVAIL/, 'CALLIT')
    await t.rejects(portmap.call([PORTMAP, 3, 5]), /PROC_UNAVAIL/)
    await t.rejects(portmap.call([PORTMAP, 5, 0]), /PROG_MISMATCH 2 4/)

    const rpcb = (netid: string, program = 100003, version = 3, address = '') =>
      args().u32(program).u32(version).string(netid).string(address).string('me').bytes()
    const universal = `127.0.0.1.${server.port >> 8}.${server.port & 0xff}`
    const text = args().string(universal).bytes().toString('hex')
    for (const version of [3, 4]) {
      await golden('GETADDR', [PORTMAP, version, 3], rpcb('tcp'), text)
      await golden('GETADDR by the transport', [PORTMAP, version, 3], rpcb(''), text)
      await golden('GETADDR over UDP', [PORTMAP, version, 3], rpcb('udp'), '00000000')
      await golden('GETADDR over IPv6', [PORTMAP, version, 3], rpcb('tcp6'), '00000000')
      await golden('SET', [PORTMAP, version, 1], rpcb('tcp', 100011), '00000000')
      await golden('UNSET', [PORTMAP, version, 2], rpcb('tcp'), '00000000')
      await golden('GETTIME', [PORTMAP, version, 6], Buffer.alloc(0), '6955b900')
    }
    await golden('GETVERSADDR', [PORTMAP, 4, 9], rpcb('tcp'), text)
    await golden('GETVERSADDR of another version', [PORTMAP, 4, 9], rpcb('tcp', 100003, 4), '00000000')
    const entry = args().u32(1).string(universal).string('tcp').u32(3).string('inet').string('tcp').u32(0).bytes()
    await golden('GETADDRLIST', [PORTMAP, 4, 11], rpcb('tcp'), entry.toString('hex'))

    const list = await portmap.call([PORTMAP, 2, 4])
    const mappings = list.list(() => [list.u32(), list.u32(), list.u32(), list.u32()].join(' '))
    list.end()
    t.equal(mappings.length, 13)
    t.ok(mappings.includes(`100003 3 6 ${server.port}`))
    t.ok(mappings.includes(`100000 2 17 ${udpPort}`))
    const dump = await portmap.call([PORTMAP, 4, 4])
    const entries = dump.list(() => [dump.u32(), dump.u32(), dump.string(), dump.string(), dump.string()].join(' '))
    dump.end()
    t.equal(entries.length, 13)
    t.ok(entries.includes(`100003 3 tcp ${universal} overlayd`))
  })
})

t.test('the small programs answer datagrams, NFS does not, and strangers get no answer', async (t) => {
  await withPortmap(t, async ({ server, udpPort, smallPort }) => {
    const getPort = args().u32(100003).u32(3).u32(6).u32(0).bytes()
    const port = server.port.toString(16).padStart(8, '0')
    t.equal(
      await datagram(udpPort, callMessage(7, [PORTMAP, 2, 3], NO_AUTH, getPort)),
      hex(`00000007 ${ACCEPTED} ${port}`),
    )
    for (const what of [
      [MOUNT, 3, 0],
      [NLM, 4, 0],
      [NSM, 1, 0],
    ] as What[]) {
      t.equal(await datagram(smallPort, callMessage(7, what)), hex(`00000007 ${ACCEPTED}`))
    }
    t.match(await datagram(smallPort, callMessage(7, [100003, 3, 0])), /00000001$/, 'PROG_UNAVAIL')
    for (const bad of [Buffer.alloc(0), Buffer.from('GET / HTTP/1.1'), Buffer.alloc(2000, 0xff)]) {
      const socket = createSocket('udp4')
      socket.send(bad, smallPort, '127.0.0.1', () => socket.close())
      await once(socket, 'close')
    }
    t.equal(await datagram(smallPort, callMessage(8, [NSM, 1, 0])), hex(`00000008 ${ACCEPTED}`))
    t.ok(server.counters.garbage! > 0)
  })
})

t.test('MOUNT, lock manager and status monitor', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ client, root }) => {
    const file = await client.walk(root, 'file')
    const fh = args().opaque(file).bytes().toString('hex')
    const golden = async (name: string, what: What, spaced: string, results: string) => {
      const message = callMessage(5, what, authSys(0, 0), Buffer.from(hex(spaced), 'hex'))
      t.equal(
        (await client.rpc.exchange(5, record(message))).toString('hex'),
        hex(`00000005 ${ACCEPTED} ${results}`),
        name,
      )
    }
    const path = args().string('/overlay').bytes().toString('hex')
    const mountList = `00000001 ${args().string('127.0.0.1').string('/overlay').bytes().toString('hex')} 00000000`
    const exported = `00000001 ${path} 00000001 ${args().string('127.0.0.1').bytes().toString('hex')} 00000000 00000000`
    await golden('MOUNT DUMP', [MOUNT, 3, 2], '', mountList)
    await golden('MOUNT EXPORT', [MOUNT, 3, 5], '', exported)
    await golden('MOUNT UMNT', [MOUNT, 3, 3], path, '')
    await golden('MOUNT DUMP after UMNT', [MOUNT, 3, 2], '', '00000000')
    await golden('MOUNT UMNTALL', [MOUNT, 3, 4], '', '')
    await golden('MOUNT MNT of nothing', [MOUNT, 3, 1], args().string('/none').bytes().toString('hex'), '00000002')

    const cookie = '00000003 63 6f 6f 00'
    const holder = (from: string, length: string) =>
      `00000003 686f7300 ${fh} 00000002 6f680000 00000007 ${from} ${length}`
    const lock = holder('0000000000000010', '0000000000000020')
    await golden('NLM NULL', [NLM, 4, 0], '', '')
    await golden('LOCK', [NLM, 4, 2], `${cookie} 00000000 00000001 ${lock} 00000000 00000001`, `${cookie} 00000000`)
    const other = `00000003 686f7300 ${fh} 00000002 6f790000 00000008 0000000000000000 0000000000000000`
    await golden(
      'TEST of another owner',
      [NLM, 4, 1],
      `${cookie} 00000000 ${other}`,
      `${cookie} 00000001 00000001 00000007 00000002 6f680000 0000000000000010 0000000000000020`,
    )
    await golden(
      'LOCK of another owner',
      [NLM, 4, 2],
      `${cookie} 00000000 00000001 ${other} 00000000 00000001`,
      `${cookie} 00000001`,
    )
    await golden(
      'LOCK that waits',
      [NLM, 4, 2],
      `${cookie} 00000001 00000001 ${other} 00000000 00000001`,
      `${cookie} 00000003`,
    )
    await golden('CANCEL', [NLM, 4, 3], `${cookie} 00000001 00000001 ${other}`, `${cookie} 00000000`)
    await golden(
      'LOCK beyond the end',
      [NLM, 4, 2],
      `${cookie} 00000000 00000001 ${holder('ffffffffffffffff', '0000000000000002')} 00000000 00000001`,
      `${cookie} 00000008`,
    )
    await golden('UNLOCK', [NLM, 4, 4], `${cookie} ${lock}`, `${cookie} 00000000`)
    await golden('TEST of what is free', [NLM, 4, 1], `${cookie} 00000000 ${other}`, `${cookie} 00000000`)
    await golden(
      'reclaim without a restart',
      [NLM, 4, 2],
      `${cookie} 00000000 00000001 ${lock} 00000001 00000001`,
      `${cookie} 00000004`,
    )
    const share = `${cookie} 00000003 686f7300 ${fh} 00000002 6f680000`
    await golden('SHARE', [NLM, 4, 20], `${share} 00000002 00000001 00000000`, `${cookie} 00000000 00000000`)
    await golden('UNSHARE', [NLM, 4, 21], `${share} 00000000 00000000 00000000`, `${cookie} 00000000 00000000`)
    await golden('NM_LOCK', [NLM, 4, 22], `${cookie} 00000000 00000001 ${lock} 00000000 00000001`, `${cookie} 00000000`)
    await golden('FREE_ALL', [NLM, 4, 23], '00000003 686f7300 00000001', '')
    await golden('UNLOCK', [NLM, 4, 4], `${cookie} ${lock}`, `${cookie} 00000000`)
    await golden('TEST after UNLOCK', [NLM, 4, 1], `${cookie} 00000000 ${other}`, `${cookie} 00000000`)
    await golden('GRANTED_RES', [NLM, 4, 15], `${cookie} 00000000`, '')
    for (const procedure of [5, 10, 11, 12, 13, 14, 16, 17, 18, 19, 24]) {
      await t.rejects(client.rpc.call([NLM, 4, procedure], authSys(0, 0)), /PROC_UNAVAIL/, `procedure ${procedure}`)
    }
    await t.rejects(client.rpc.call([NLM, 3, 0]), /PROG_MISMATCH 4 4/)

    const name = '00000004 686f7374'
    const myId = `${name} 000186b5 00000004 00000010`
    await golden('SM_NULL', [NSM, 1, 0], '', '')
    await golden('SM_STAT', [NSM, 1, 1], name, '00000001 00000001')
    await golden('SM_MON', [NSM, 1, 2], `${name} ${myId} ${'00'.repeat(16)}`, '00000001 00000001')
    await golden('SM_UNMON', [NSM, 1, 3], `${name} ${myId}`, '00000001')
    await golden('SM_UNMON_ALL', [NSM, 1, 4], myId, '00000001')
    await golden('SM_SIMU_CRASH', [NSM, 1, 5], '', '')
    await golden('SM_NOTIFY', [NSM, 1, 6], `${name} 00000003`, '')
  })
})

/** Good arguments of every procedure that has some. */
function goodArguments(file: Handle): [name: string, what: What, bytes: Buffer][] {
  const cookie = () => args().string('cookie')
  const lock = (writer: XdrWriter) => writer.string('host').opaque(file).string('owner').u32(1).u64(0).u64(10)
  const lockArgs = lock(cookie().u32(0).u32(1)).u32(0).u32(1).bytes()
  const testArgs = lock(cookie().u32(1)).bytes()
  const cancelArgs = lock(cookie().u32(1).u32(1)).bytes()
  const unlockArgs = lock(cookie()).bytes()
  const shareArgs = cookie().string('host').opaque(file).string('owner').u32(0).u32(0).u32(0).bytes()
  const nlm: [keyof typeof NLM_PROCEDURES, Buffer][] = [
    ['TEST', testArgs],
    ['LOCK', lockArgs],
    ['CANCEL', cancelArgs],
    ['UNLOCK', unlockArgs],
    ['TEST_MSG', testArgs],
    ['LOCK_MSG', lockArgs],
    ['CANCEL_MSG', cancelArgs],
    ['UNLOCK_MSG', unlockArgs],
    ['GRANTED_RES', cookie().u32(0).bytes()],
    ['SHARE', shareArgs],
    ['UNSHARE', shareArgs],
    ['NM_LOCK', lockArgs],
    ['FREE_ALL', args().string('host').u32(1).bytes()],
  ]
  const myId = (writer: XdrWriter) => writer.string('me').u32(1).u32(2).u32(3)
  const rpcb = args().u32(100003).u32(3).string('tcp').string('').string('').bytes()
  return [
    ...nlm.map(([name, bytes]): [string, What, Buffer] => [name, [NLM, 4, NLM_PROCEDURES[name]], bytes]),
    ['SM_STAT', [NSM, 1, 1], args().string('host').bytes()],
    ['SM_MON', [NSM, 1, 2], myId(args().string('host')).raw(Buffer.alloc(16)).bytes()],
    ['SM_UNMON', [NSM, 1, 3], myId(args().string('host')).bytes()],
    ['SM_UNMON_ALL', [NSM, 1, 4], myId(args()).bytes()],
    ['SM_NOTIFY', [NSM, 1, 6], args().string('host').u32(3).bytes()],
    ['MNT', [MOUNT, 3, 1], args().string('/overlay').bytes()],
    ['UMNT', [MOUNT, 3, 3], args().string('/overlay').bytes()],
    ...[1, 2, 3].map((procedure): [string, What, Buffer] => [
      `PMAP ${procedure}`,
      [PORTMAP, 2, procedure],
      Buffer.alloc(16, 1),
    ]),
    ...[1, 2, 3].map((procedure): [string, What, Buffer] => [`RPCB ${procedure}`, [PORTMAP, 3, procedure], rpcb]),
    ...[1, 2, 3, 9, 11].map((procedure): [string, What, Buffer] => [
      `RPCB4 ${procedure}`,
      [PORTMAP, 4, procedure],
      rpcb,
    ]),
  ]
}

t.test('arguments cut at any byte, and lengths that lie, are garbage or refused; never a fault', async (t) => {
  await withPortmap(t, async ({ client, root, portmap, server, complaints }) => {
    const file = await client.walk(root, 'file')
    let cuts = 0
    const outcome = async ([program, version, procedure]: What, bytes: Buffer): Promise<string> => {
      const rpc = program === PORTMAP ? portmap : client.rpc
      try {
        await rpc.call([program, version, procedure], authSys(0, 0), bytes)
        return 'SUCCESS'
      } catch (error) {
        if (error instanceof RpcRefusal) return error.message
        throw error
      }
    }
    for (const [name, what, bytes] of goodArguments(file)) {
      t.equal(await outcome(what, bytes), 'SUCCESS', name)
      for (let end = 0; end < bytes.length; end++) {
        const result = await outcome(what, bytes.subarray(0, end))
        if (result !== 'GARBAGE_ARGS') t.fail(`${name} of ${end} bytes: ${result}`)
        if (what[0] !== PORTMAP) cuts++
      }
      for (let at = 0; at < bytes.length; at += 4) {
        for (const word of [0, 1, 3, 0xff, 1025, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff]) {
          const changed = Buffer.from(bytes)
          changed.writeUInt32BE(word, at)
          const result = await outcome(what, changed)
          if (result === 'SYSTEM_ERR') t.fail(`${name} with ${word.toString(16)} at ${at}`)
        }
      }
    }
    t.ok(server.counters.garbageArgs! >= cuts, `${cuts} cut calls are counted`)
    t.equal(server.counters.systemErrors, 0)
    t.ok(
      complaints.every((line) => line.includes('malformed arguments')),
      complaints.join('; '),
    )
  })
})
