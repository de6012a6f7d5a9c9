import t from 'tap'
import { ClientShares } from '../../../../protocols/nfs/rpc/client-share.ts'

const LIMITS = {
  maxConnectionsPerClient: 10,
  maxInFlightPerClient: 10,
  maxInFlightTotal: 10,
  maxBytesInFlight: 1000,
  turnCalls: 100,
}

const loopTurn = () => new Promise((resolve) => setImmediate(resolve))

t.test('the connections of a client share its time in a turn of the event loop', async (t) => {
  const shares = new ClientShares(LIMITS)
  const share = shares.connected('192.0.2.1')!
  shares.connected('192.0.2.1')
  t.equal(share.begin(10), 12)
  t.equal(share.begin(11.5), 12, 'the second connection')
  t.notOk(share.mustWait)
  const went: string[] = []
  share.begin(12)
  t.ok(share.mustWait)
  share.wait({ goOn: () => went.push(`until ${share.begin(20)}`) })
  t.same(went, [])
  await loopTurn()
  t.same(went, ['until 22'])
  t.notOk(share.mustWait)
  await loopTurn()
  t.equal(share.begin(30), 32)
})

t.test('a client with one connection has its time for each piece of work, and other clients have theirs', async (t) => {
  const shares = new ClientShares(LIMITS)
  const [one, other] = [shares.connected('192.0.2.1')!, shares.connected('192.0.2.2')!]
  t.equal(one.begin(10), 12)
  t.equal(other.begin(13), 15)
  t.equal(one.begin(14), 16)
  t.notOk(one.mustWait)
})
