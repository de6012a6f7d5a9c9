import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import type { RpcServer } from '../../../../protocols/nfs/rpc/server.ts'
import {
  type Auth,
  authSys,
  callMessage,
  fragments,
  NO_AUTH,
  parseReply,
  type RpcClient,
  RpcRefusal,
  record,
  XdrWriter,
} from '../../../helpers/rpc-client.ts'
import { BIG, COUNT, COUNT_LATER, ECHO, FAIL, MUTE, PROGRAM, REJECT, WAIT, withRpc } from './rpc-fixture.ts'

const word = (value: number): Buffer => new XdrWriter().u32(value).bytes()

/** What a call is refused with, in words; 'none' when it is not. */
async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'none'
  } catch (error) {
    if (error instanceof RpcRefusal) return error.message
    throw error
  }
}

t.test('calls are answered by xid, with their own arguments', async (t) => {
  await withRpc(t, async ({ connect }) => {
    const client = await connect()
    const echo = async (text: string) =>
      (await client.call([PROGRAM, 2, ECHO], undefined, new XdrWriter().string(text).bytes())).string()
    const texts = Array.from({ length: 500 }, (_, i) => 'x'.repeat(i))
    t.same(await Promise.all(texts.map(echo)), texts)
  })
})

t.test('what is not served is refused in the words of RFC 5531', async (t) => {
  await withRpc(t, async ({ connect, server }) => {
    const client = await connect()
    t.equal(await refusal(client.call([PROGRAM + 1, 2, 0])), 'PROG_UNAVAIL')
    t.equal(await refusal(client.call([PROGRAM, 3, 0])), 'PROG_MISMATCH 2 4')
    t.equal(await refusal(client.call([PROGRAM, 2, 8])), 'PROC_UNAVAIL')
    t.equal(await refusal(client.call([PROGRAM, 2, 0xffff_ffff])), 'PROC_UNAVAIL')
    t.equal(await refusal(client.call([PROGRAM, 4, 0])), 'PROC_UNAVAIL')
    t.equal(await refusal(client.call([PROGRAM, 2, ECHO])), 'GARBAGE_ARGS')
    t.equal(await refusal(client.call([PROGRAM, 2, ECHO], undefined, word(100))), 'GARBAGE_ARGS')
    t.equal(await refusal(client.call([PROGRAM, 2, FAIL])), 'SYSTEM_ERR')
    t.equal(await refusal(client.call([PROGRAM, 2, REJECT])), 'SYSTEM_ERR')
    t.equal(await refusal(client.call([PROGRAM, 2, MUTE])), 'SYSTEM_ERR', 'every call is answered')
    t.match(server.counters, { unavailable: 5, garbageArgs: 2, systemErrors: 2, garbage: 0 })
  })
})

t.test('another RPC version and bad credentials are denied', async (t) => {
  await withRpc(t, async ({ connect, server }) => {
    const client = await connect()
    const message = callMessage(1, [PROGRAM, 2, ECHO])
    message.writeUInt32BE(3, 8)
    const reply = await client.exchange(1, record(message))
    t.throws(() => parseReply(reply), /RPC_MISMATCH 2 2/)
    const badCred = 'AUTH_ERROR 1'
    const call = (flavor: number, body: Buffer) => refusal(client.call([PROGRAM, 2, ECHO], { flavor, body }))
    t.equal(await call(6, Buffer.alloc(20)), badCred, 'RPCSEC_GSS is not known')
    t.equal(await call(1, Buffer.alloc(0)), badCred)
    t.equal(await call(1, Buffer.alloc(19)), badCred)
    t.equal(await call(1, authSys(1, 2, Array(17).fill(1)).body), badCred)
    t.equal(await call(1, Buffer.alloc(404)), badCred)
    const verifier = new XdrWriter().u32(7).u32(0).u32(2).u32(PROGRAM).u32(2).u32(ECHO).u32(0).u32(0)
    const withVerifier = verifier.u32(1).opaque(Buffer.alloc(4)).bytes()
    const denied = await client.exchange(7, record(withVerifier))
    t.throws(() => parseReply(denied), /AUTH_ERROR 3/)
    const longCredential = callMessage(8, [PROGRAM, 2, ECHO])
    longCredential.writeUInt32BE(0x7fff_ffff, 28)
    const alsoDenied = await client.exchange(8, record(longCredential))
    t.throws(() => parseReply(alsoDenied), /AUTH_ERROR 1/, 'a length that goes nowhere')
    t.equal(server.counters.denied, 8)
  })
})

t.test('bytes that are not RPC close that connection and no other', async (t) => {
  await withRpc(
    t,
    async ({ connect, server }) => {
      const bystander = await connect()
      const reply = callMessage(1, [PROGRAM, 2, ECHO])
      reply.writeUInt32BE(1, 4)
      const message = callMessage(1, [PROGRAM, 2, ECHO])
      const garbage = [
        Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
        Buffer.alloc(100, 0xff),
        record(Buffer.alloc(0)),
        record(reply),
        ...Array.from({ length: message.length / 4 }, (_, i) => record(message.subarray(0, 4 * i))),
        fragments(Array.from({ length: 20 }, () => Buffer.alloc(0))),
      ]
      for (const bytes of garbage) {
        const client = await connect()
        client.socket.write(bytes)
        await client.closed
      }
      t.equal(server.counters.garbage, garbage.length)
      const echo = await bystander.call([PROGRAM, 2, ECHO], undefined, new XdrWriter().string('still here').bytes())
      t.equal(echo.string(), 'still here')
    },
    { maxConnections: 100, idleMs: 60_000, stallMs: 60_000 },
  )
})

t.test('a call in many fragments is a call', async (t) => {
  await withRpc(t, async ({ connect }) => {
    const client = await connect()
    const message = callMessage(5, [PROGRAM, 2, ECHO], undefined, new XdrWriter().string('in parts').bytes())
    const parts = [message.subarray(0, 1), message.subarray(1, 30), Buffer.alloc(0), message.subarray(30)]
    t.equal(parseReply(await client.exchange(5, fragments(parts))).results.string(), 'in parts')
  })
})

t.test('no more calls are taken on than are allowed in flight; all are answered in the end', async (t) => {
  await withRpc(t, async ({ connect, waiting, begun, server }) => {
    const client = await connect()
    const answers = Array.from({ length: 50 }, (_, i) => client.call([PROGRAM, 2, WAIT], undefined, word(i)))
    await begun(8)
    const other = await connect()
    await other.call([PROGRAM, 2, ECHO], undefined, word(0))
    t.equal(waiting.length, 8)
    t.equal(server.counters.calls, 9)
    const values = Promise.all(answers.map(async (answer) => (await answer).u32()))
    let answered = false
    values.then(() => {
      answered = true
    })
    while (!answered) {
      for (const go of waiting.splice(0)) go()
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.same(
      await values,
      Array.from({ length: 50 }, (_, i) => i),
    )
  })
})

t.test('a client that takes no replies is not served on, until it does', async (t) => {
  await withRpc(
    t,
    async ({ connect, server }) => {
      const client = await connect()
      client.socket.pause()
      const calls = 200
      const size = 128 * 1024
      const answers = Array.from({ length: calls }, () => client.call([PROGRAM, 2, BIG], undefined, word(size)))
      const other = await connect()
      await untilQuiet(server, other)
      t.ok(server.counters.calls < calls, `stopped after ${server.counters.calls}`)
      client.socket.resume()
      const sizes = await Promise.all(answers.map(async (answer) => (await answer).u32()))
      t.ok(sizes.every((value) => value === size))
    },
    { idleMs: 60_000, stallMs: 60_000 },
  )
})

t.test('quiet connections are closed: idle ones late, those that hold something up soon', async (t) => {
  await withRpc(t, async ({ connect, clock, server, waiting, begun }) => {
    const idle = await connect()
    const partial = await connect()
    const busy = await connect()
    const deaf = await connect()
    await idle.call([PROGRAM, 2, ECHO], undefined, word(0))
    partial.socket.write(record(callMessage(1, [PROGRAM, 2, ECHO])).subarray(0, 20))
    const answer = busy.call([PROGRAM, 2, WAIT], undefined, word(7))
    await begun(1)
    deaf.socket.pause()
    for (let i = 0; i < 300; i++) deaf.call([PROGRAM, 2, BIG], undefined, word(60_000)).catch(() => undefined)
    await untilQuiet(server, idle)
    clock.nowMs = 25
    await partial.closed
    while (server.counters.stalled < 2) await new Promise((resolve) => setImmediate(resolve))
    deaf.socket.resume()
    await deaf.closed
    t.match(server.counters, { stalled: 2, idle: 0 })
    clock.nowMs = 50
    await idle.closed
    t.match(server.counters, { stalled: 2, idle: 1 })
    waiting.pop()?.()
    t.equal((await answer).u32(), 7, 'a call that runs is no quiet')
  })
})

t.test(
  'there are no more connections than allowed: a new one takes the place of the one that is idle for longest, never of a busy one',
  async (t) => {
    await withRpc(t, async ({ connect: open, server }) => {
      const clients: RpcClient[] = []
      for (let i = 0; i < 4; i++) clients.push(await open())
      for (const client of clients) await client.call([PROGRAM, 2, ECHO], undefined, word(0))
      const fifth = await open()
      await fifth.call([PROGRAM, 2, ECHO], undefined, word(0))
      await Promise.race(clients.map((client) => client.closed))
      t.same([server.counters.idle, server.counters.connectionsRefused], [1, 0])
      const left = [...clients.filter(({ socket }) => !socket.destroyed), fifth]
      t.equal(left.length, 4)
      // The beginning of a record, which the server has when it answers the next connection's call.
      for (const client of left) client.socket.write(Buffer.of(0x80, 0, 0, 200, 1, 2, 3, 4))
      let refusals = 0
      for (let tries = 0; refusals === 0 && tries < 100; tries++) {
        const sixth = await open()
        if (await refused(sixth)) refusals++
        else await sixth.close()
      }
      t.equal(refusals, 1)
      t.equal(server.counters.connectionsRefused, 1)
    })
  },
)

/** Resolves when the server serves nothing but the calls that are made here to find out. */
async function untilQuiet(server: RpcServer, client: RpcClient): Promise<void> {
  for (let before = -1; server.counters.calls !== before; ) {
    before = server.counters.calls + 1
    await client.call([PROGRAM, 2, ECHO], undefined, word(0))
  }
}

async function refused(client: RpcClient): Promise<boolean> {
  try {
    await client.call([PROGRAM, 2, ECHO], undefined, word(0))
    return false
  } catch (error) {
    if (error instanceof RpcRefusal) throw error
    return true
  }
}

t.test('close waits for calls in flight, sends their replies and takes no more', async (t) => {
  await withRpc(t, async ({ connect: open, server, waiting, begun }) => {
    const client = await open()
    const { remotePort } = client.socket
    const answers = [1, 2, 3].map((value) => client.call([PROGRAM, 2, WAIT], undefined, word(value)))
    await begun(3)
    const closing = server.close()
    const late = connect({ port: remotePort!, host: '127.0.0.1' })
    await once(late, 'error')
    for (const go of waiting.splice(0)) go()
    t.same(await Promise.all(answers.map(async (answer) => (await answer).u32())), [1, 2, 3])
    await closing
    await client.closed
  })
})

t.test(
  'a non-idempotent call asked again is answered from the cache, also on a new connection from another port',
  async (t) => {
    await withRpc(t, async ({ connect: open, runs, server }) => {
      const first = await open()
      const message = record(callMessage(77, [PROGRAM, 2, COUNT], authSys(1, 1), word(5)))
      const reply = await first.exchange(77, message)
      t.same(await first.exchange(77, message), reply, 'on the same connection')
      await reset(first)
      const second = await open()
      t.same(await second.exchange(77, message), reply, 'and on the next one')
      const third = await open()
      t.same(await third.exchange(77, message), reply, 'and on one more beside it (nconnect)')
      t.equal(runs.count, 1)
      t.equal(server.counters.duplicates, 3)
      const other = record(callMessage(77, [PROGRAM, 2, COUNT], authSys(1, 1), word(6)))
      t.equal(parseReply(await second.exchange(77, other)).results.u32(), 2, 'another call with the same xid')
      const someoneElse = record(callMessage(77, [PROGRAM, 2, COUNT], authSys(2, 1), word(5)))
      t.equal(parseReply(await third.exchange(77, someoneElse)).results.u32(), 3, 'the same for another user')
      t.same(await third.exchange(77, message), reply, 'the first is still known beside those with its xid')
    })
  },
)

t.test(
  'nobody can make a call that is taken for the call of another user, or for another one of its own',
  async (t) => {
    await withRpc(t, async ({ connect: open, runs, server }) => {
      const client = await open()
      const ask = (auth: Auth, args: Buffer) =>
        client.exchange(77, record(callMessage(77, [PROGRAM, 2, COUNT], auth, args)))
      const data = Buffer.alloc(4096, 1)
      const reply = await ask(authSys(1000, 1000), data)
      t.same(await ask(withStamp(authSys(1000, 1000), 1), data), reply, 'a client may count the stamp up')
      t.equal(runs.count, 1)
      for (const auth of [authSys(1001, 1000), authSys(1000, 1001), authSys(1000, 1000, [4]), NO_AUTH]) {
        t.notSame(await ask(auth, data), reply)
        // The checksum of the message was one that anybody could make by choosing the stamp.
        for (let stamp = 0; stamp < 500; stamp++) await ask(withStamp(auth, stamp), data)
      }
      t.equal(runs.count, 5, 'whatever the stamp')
      for (const at of [1, 1000, 1024, 2000, 4095]) {
        const other = Buffer.from(data)
        other[at]! ^= 1
        t.notSame(await ask(authSys(1000, 1000), other), reply, `other data at byte ${at} is another call`)
      }
      t.equal(runs.count, 10)
      t.same(await ask(authSys(1000, 1000), data), reply)
      t.equal(server.counters.duplicates, 2 + 4 * 500)
    })
  },
)

function withStamp(auth: Auth, stamp: number): Auth {
  if (auth.body.length === 0) return auth
  const body = Buffer.from(auth.body)
  body.writeUInt32BE(stamp)
  return { ...auth, body }
}

t.test('a call asked again while it runs is run once and answered twice', async (t) => {
  await withRpc(t, async ({ connect: open, waiting, begun, runs }) => {
    const first = await open()
    const message = record(callMessage(9, [PROGRAM, 2, COUNT_LATER], authSys(1, 1), word(5)))
    const lost = first.exchange(9, message).catch(() => 'lost')
    await begun(1)
    await reset(first)
    t.equal(await lost, 'lost')
    const second = await open()
    const again = second.exchange(9, message)
    // Answered in order of arrival, so that the repeated call is known to be taken on.
    await second.call([PROGRAM, 2, ECHO], undefined, word(0))
    t.equal(waiting.length, 1)
    for (const go of waiting.splice(0)) go()
    t.equal(parseReply(await again).results.u32(), 1)
    t.equal(runs.count, 1)
  })
})

t.test('answers are forgotten after two minutes, and when many others came', async (t) => {
  await withRpc(
    t,
    async ({ connect: open, clock, runs }) => {
      const client = await open()
      const ask = (xid: number) =>
        client.exchange(xid, record(callMessage(xid, [PROGRAM, 2, COUNT], undefined, word(xid))))
      await ask(1)
      clock.nowMs = 119_000
      await ask(1)
      t.equal(runs.count, 1)
      clock.nowMs = 121_000
      await ask(1)
      t.equal(runs.count, 2)
      for (let xid = 2; xid < 1100; xid++) await ask(xid)
      const before = runs.count
      await ask(1099)
      t.equal(runs.count, before)
      await ask(1)
      t.equal(runs.count, before + 1)
    },
    { idleMs: 1e9, stallMs: 1e9 },
  )
})

/** Ends the connection so that its port is free again at once. */
async function reset(client: RpcClient): Promise<void> {
  client.socket.resetAndDestroy()
  await client.closed
}

t.test('a client with many connections gets no more turns than one with a single one', async (t) => {
  await withRpc(
    t,
    async ({ connect: open, server }) => {
      const greedy = await Promise.all(Array.from({ length: 10 }, () => open()))
      const modest = await open(undefined, '127.0.0.2')
      // Everything is in the server's socket buffers before it can answer: what follows is the order of its choice.
      const answered: string[] = []
      const ask = (client: RpcClient, who: string, count: number) =>
        Array.from({ length: count }, () =>
          client.call([PROGRAM, 2, ECHO], undefined, word(0)).then(() => answered.push(who)),
        )
      await Promise.all([...greedy.flatMap((client) => ask(client, 'greedy', 200)), ...ask(modest, 'modest', 40)])
      t.equal(server.counters.calls, 2040)
      const before = answered.lastIndexOf('modest') - 39
      t.ok(before < 1000, `${before} calls of the greedy one came before the last of 40 modest ones`)
    },
    { maxConnections: 100, turnCalls: 10, idleMs: 60_000, stallMs: 60_000 },
  )
})

t.test('calls in flight are limited by client, and shared when several have some', async (t) => {
  await withRpc(
    t,
    async ({ connect: open, waiting, begun, server }) => {
      const greedy = await Promise.all([open(), open(), open()])
      const answers = greedy.flatMap((client) =>
        Array.from({ length: 30 }, (_, i) => client.call([PROGRAM, 2, WAIT], undefined, word(i))),
      )
      await begun(24)
      const modest = await open(undefined, '127.0.0.2')
      await modest.call([PROGRAM, 2, ECHO], undefined, word(0))
      t.equal(waiting.length, 24, 'three connections have the share of one client')
      const own = Array.from({ length: 12 }, (_, i) => modest.call([PROGRAM, 2, WAIT], undefined, word(i)))
      await begun(36)
      // From now on each has a half.
      for (const go of waiting.splice(0, 24)) go()
      const all = Promise.all([...answers, ...own])
      let done = false
      all.then(() => {
        done = true
      })
      let most = 0
      while (!done) {
        most = Math.max(most, waiting.length)
        for (const go of waiting.splice(0)) go()
        await new Promise((resolve) => setImmediate(resolve))
      }
      t.ok(most <= 32, `${most} at once`)
      t.equal((await all).length, 102)
      t.equal(server.counters.calls, 103)
    },
    { maxConnections: 100, maxInFlight: 30, maxInFlightPerClient: 24, maxInFlightTotal: 40 },
  )
})

t.test('one client cannot take all connections', async (t) => {
  await withRpc(
    t,
    async ({ connect: open, server }) => {
      const own = [await open(), await open()]
      for (const client of own) await client.call([PROGRAM, 2, ECHO], undefined, word(0))
      const third = await open()
      await third.closed
      t.equal(server.counters.connectionsRefused, 1)
      const other = await open(undefined, '127.0.0.2')
      t.equal(await refused(other), false)
    },
    { maxConnectionsPerClient: 2 },
  )
})

t.test('large calls that wait are bounded by their bytes, and each client still gets one at a time', async (t) => {
  await withRpc(
    t,
    async ({ connect: open, waiting, begun }) => {
      const large = (i: number) => Buffer.concat([word(i), Buffer.alloc(30_000)])
      const [first, second, other] = [await open(), await open(), await open(undefined, '127.0.0.2')]
      const answers = [first, second].flatMap((client) =>
        Array.from({ length: 6 }, (_, i) => client.call([PROGRAM, 2, WAIT], undefined, large(i))),
      )
      await begun(4)
      const own = Array.from({ length: 3 }, (_, i) => other.call([PROGRAM, 2, WAIT], undefined, large(i)))
      await begun(5)
      let most = 0
      const all = Promise.all([...answers, ...own])
      let done = false
      all.then(() => {
        done = true
      })
      while (!done) {
        most = Math.max(most, waiting.length)
        waiting.shift()?.()
        await new Promise((resolve) => setImmediate(resolve))
      }
      t.ok(most <= 5, `${most} at once`)
      t.equal((await all).length, 15)
    },
    { maxBytesInFlight: 100_000 },
  )
})
