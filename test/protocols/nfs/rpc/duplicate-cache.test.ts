import t from 'tap'
import type { RpcCall } from '../../../../protocols/nfs/rpc/call.ts'
import { CallDigest } from '../../../../protocols/nfs/rpc/call-digest.ts'
import { DuplicateCache } from '../../../../protocols/nfs/rpc/duplicate-cache.ts'

/** As much of a call as the cache looks at. */
function call(xid: number, reply = 'reply'): RpcCall {
  return { xid, replyBytes: () => Buffer.from(reply) } as unknown as RpcCall
}

t.test(
  'what is remembered is bounded for each client and for all; clients without a connection go first',
  async (t) => {
    const cache = new DuplicateCache(new CallDigest(Buffer.alloc(16, 7)), { perClient: 10, total: 20, assured: 2 })
    const ask = (client: ReturnType<DuplicateCache['connected']>, from: number, count: number) => {
      for (let xid = from; xid < from + count; xid++) client.add(call(xid), 1, 0).complete(call(xid))
    }
    const gone = cache.connected('gone')
    ask(gone, 0, 10)
    gone.disconnected()
    const first = cache.connected('first')
    ask(first, 0, 50)
    t.equal(first.size, 10)
    t.equal(first.find(call(39), 1, 0), undefined)
    t.ok(first.find(call(40), 1, 0))
    const second = cache.connected('second')
    ask(second, 0, 50)
    t.equal(second.size, 10)
    t.equal(cache.size, 20, 'the place is that of the client that went')
    t.equal(cache.connected('gone').find(call(9), 1, 0), undefined)
    const third = cache.connected('third')
    ask(third, 0, 50)
    t.equal(third.size, 2, 'a connected client has a few places whatever the others have')
    t.ok(third.find(call(49), 1, 0))
  },
)

t.test('a call that runs is never forgotten for others', async (t) => {
  const cache = new DuplicateCache(new CallDigest(Buffer.alloc(16, 7)), { perClient: 4, total: 4, assured: 1 })
  const client = cache.connected('client')
  const running = client.add(call(1), 7, 0)
  for (let xid = 2; xid < 100; xid++) client.add(call(xid), 7, 0).complete(call(xid))
  t.equal(client.find(call(1), 7, 1e9), running, 'however old')
  const answer = running.wait()
  running.complete(call(1, 'late'))
  t.equal(Buffer.from((await answer)!).toString(), 'late')
  const all = Array.from({ length: 10 }, (_, i) => client.add(call(200 + i), 7, 0))
  for (const [i, entry] of all.entries()) t.equal(client.find(call(200 + i), 7, 0), entry)
})

t.test('calls of one xid whose checksums share a key in the index are told apart', (t) => {
  const client = new DuplicateCache(new CallDigest(Buffer.alloc(16, 7))).connected('client')
  const entry = client.add(call(5), 7, 0)
  entry.complete(call(5))
  t.equal(client.find(call(5), 7, 0), entry)
  for (let bit = 8; bit < 48; bit++) t.equal(client.find(call(5), 7 + 2 ** bit, 0), undefined, `7 + 2^${bit}`)
  t.end()
})
