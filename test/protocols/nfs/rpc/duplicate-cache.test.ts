import t, { type Test } from 'tap'
import { CallDigest } from '../../../../protocols/nfs/rpc/call-digest.ts'
import { callMessage, NO_AUTH, parseReply, type RpcClient, record, XdrWriter } from '../../../helpers/rpc-client.ts'
import { COUNT, COUNT_LATER, PROGRAM, type RpcFixture, withRpc } from './rpc-fixture.ts'

/** The message of a call that counts how often it runs. `args` distinguishes calls with one xid. */
function message(xid: number, procedure = COUNT, args = 0): Buffer {
  return callMessage(xid, [PROGRAM, 2, procedure], NO_AUTH, new XdrWriter().u32(args).bytes())
}

/** Sends a call and returns its result: how many calls had run when it ran. */
async function ask(client: RpcClient, xid: number, procedure = COUNT, args = 0): Promise<number> {
  return parseReply(await client.exchange(xid, record(message(xid, procedure, args)))).results.u32()
}

/** Whether a call that was sent before runs again. */
async function runsAgain({ runs }: RpcFixture, client: RpcClient, xid: number): Promise<boolean> {
  const { count } = runs
  await ask(client, xid)
  return runs.count > count
}

async function askAll(client: RpcClient, from: number, count: number): Promise<void> {
  for (let xid = from; xid < from + count; xid++) await ask(client, xid)
}

t.test('replies are kept for a number of calls of each client and of all; clients without a connection go first', (t) =>
  withRpc(t, (fixture) => checkLimits(t, fixture), {
    duplicates: { perClient: 10, total: 20, assured: 2 },
    maxConnections: 10,
  }),
)

async function checkLimits(t: Test, fixture: RpcFixture): Promise<void> {
  const from = (address: string) => fixture.connect(undefined, address)
  const gone = await from('127.0.0.2')
  await askAll(gone, 0, 10)
  t.notOk(await runsAgain(fixture, gone, 0), 'ten calls of a client are known')
  await gone.close()

  const first = await from('127.0.0.3')
  await askAll(first, 0, 50)
  t.notOk(await runsAgain(fixture, first, 40), 'its last ten calls')
  t.notOk(await runsAgain(fixture, first, 49))
  t.ok(await runsAgain(fixture, first, 39), 'and no more')

  const second = await from('127.0.0.4')
  await askAll(second, 0, 50)
  t.notOk(await runsAgain(fixture, second, 40), 'in place of the client that went')
  const back = await from('127.0.0.2')
  t.ok(await runsAgain(fixture, back, 9), 'whose calls are forgotten')
  t.notOk(await runsAgain(fixture, first, 49), 'but not those of a connected client')

  const third = await from('127.0.0.5')
  await askAll(third, 0, 50)
  t.notOk(await runsAgain(fixture, third, 49), 'a connected client has a few places whatever the others have')
  t.notOk(await runsAgain(fixture, third, 48))
  t.ok(await runsAgain(fixture, third, 47), 'and no more')
}

t.test('a call that runs is never forgotten, however old and whatever else comes', async (t) => {
  await withRpc(
    t,
    async ({ connect, clock, begun, waiting, runs }) => {
      const client = await connect()
      const running = ask(client, 1, COUNT_LATER)
      await begun(1)
      for (let xid = 2; xid < 100; xid++) await ask(client, xid)
      clock.nowMs += 1e9
      const other = await connect()
      const repeated = ask(other, 1, COUNT_LATER)
      // The reply to a later call shows that the server has read the repeated one.
      await ask(other, 100)
      for (const go of waiting.splice(0)) go()
      t.equal(await running, 100)
      t.equal(await repeated, 100, 'the same reply')
      t.equal(runs.count, 100, 'ran once')
    },
    { duplicates: { perClient: 4, total: 4, assured: 1 } },
  )
})

t.test('more calls may run than replies are kept, and each runs once', async (t) => {
  await withRpc(
    t,
    async ({ connect, begun, waiting, runs }) => {
      const client = await connect()
      const other = await connect()
      const xids = Array.from({ length: 7 }, (_, i) => 200 + i)
      const running = xids.map((xid) => ask(client, xid, COUNT_LATER))
      await begun(xids.length)
      const repeated = xids.map((xid) => ask(other, xid, COUNT_LATER))
      await ask(other, 300)
      for (const go of waiting.splice(0)) go()
      t.same(await Promise.all(repeated), await Promise.all(running))
      t.equal(runs.count, xids.length + 1)
    },
    { duplicates: { perClient: 4, total: 4, assured: 1 } },
  )
})

/** The bits of a digest by which the cache finds a call; it compares all of them afterwards. */
const FOUND_BY = 0x20_0000

/** Arguments of two calls with one xid whose digests are found by the same bits. */
function collision(key: Uint8Array, xid: number): readonly [number, number] {
  const digest = new CallDigest(key)
  const seen = new Map<number, number>()
  for (let args = 0; ; args++) {
    const bytes = message(xid, COUNT, args)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const bits = digest.of(bytes, view, 0, bytes.length, 0) % FOUND_BY
    const earlier = seen.get(bits)
    if (earlier !== undefined) return [earlier, args]
    seen.set(bits, args)
  }
}

t.test('calls of one xid whose digests are nearly equal are told apart', async (t) => {
  const callKey = Buffer.alloc(16, 9)
  const [one, two] = collision(callKey, 5)
  await withRpc(
    t,
    async ({ connect }) => {
      const client = await connect()
      t.equal(await ask(client, 5, COUNT, one), 1)
      t.equal(await ask(client, 5, COUNT, one), 1, 'the reply of the call')
      t.equal(await ask(client, 5, COUNT, two), 2, 'another call runs')
    },
    { callKey },
  )
})
