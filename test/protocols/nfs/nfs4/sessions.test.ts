import t from 'tap'
import { CURRENT, createSession, Nfs4Failure, Nfs4TestClient, type Op, op } from '../../../helpers/nfs4-client.ts'
import { authSys } from '../../../helpers/rpc-client.ts'
import { withNfs } from '../nfs-fixture.ts'

const STATUS = {
  PERM: 1,
  NOENT: 2,
  EXIST: 17,
  INVAL: 22,
  DELAY: 10008,
  CLID_INUSE: 10017,
  STALE_CLIENTID: 10022,
  NOT_SAME: 10027,
  BADXDR: 10036,
  OP_ILLEGAL: 10044,
  MINOR_VERS_MISMATCH: 10021,
  NOTSUPP: 10004,
  BADSESSION: 10052,
  BADSLOT: 10053,
  COMPLETE_ALREADY: 10054,
  SEQ_MISORDERED: 10063,
  SEQUENCE_POS: 10064,
  REQ_TOO_BIG: 10065,
  REP_TOO_BIG: 10066,
  REP_TOO_BIG_TO_CACHE: 10067,
  RETRY_UNCACHED_REP: 10068,
  TOO_MANY_OPS: 10070,
  OP_NOT_IN_SESSION: 10071,
  CLIENTID_BUSY: 10074,
  SEQ_FALSE_RETRY: 10076,
  NOT_ONLY_OP: 10081,
}

/** The status with which a promise of the client fails. */
async function failure(promise: Promise<unknown>): Promise<number> {
  try {
    await promise
    return 0
  } catch (error) {
    if (error instanceof Nfs4Failure) return error.status
    throw error
  }
}

const DESTROY_CLIENTID = (id: bigint): Op => ({ number: 57, args: (out) => out.u64(id) })
const DESTROY_SESSION = (session: Buffer): Op => ({ number: 44, args: (out) => out.raw(session) })

t.test('a request that is sent again is executed once, over another connection too', async (t) => {
  await withNfs(t, [{}], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const root = await client.handle('/overlay')
    const make = [op.putfh(root), op.create(2, 'dir')]
    const first = await client.compound(make, { cache: true })
    t.equal(first.status, 0)
    const other = await Nfs4TestClient.connect(server.port)
    other.session = client.session
    const number = client.sequences[0]
    t.same(await other.compound(make, { cache: true, sequence: number }), first, 'the same reply')
    t.equal((await client.compound(make, { cache: true })).status, STATUS.EXIST, 'as a new request it fails')
    const read = [op.putfh(root), op.getattr(1)]
    await client.compound(read)
    t.equal((await client.compound(read, { sequence: client.sequences[0] })).status, STATUS.RETRY_UNCACHED_REP)
    await client.compound(make, { cache: true })
    const otherRequest = [op.putfh(root), op.create(2, 'another name')]
    t.equal(
      (await client.compound(otherRequest, { cache: true, sequence: client.sequences[0] })).status,
      STATUS.SEQ_FALSE_RETRY,
    )
    await client.close()
    await other.close()
  })
})

t.test('slots have an order, and a session has limits', async (t) => {
  await withNfs(t, [{}], async ({ server }) => {
    const client = await Nfs4TestClient.connect(server.port)
    await client.exchangeId('limits')
    await client.createSession({ requests: 2, operations: 4, requestBytes: 512, replyBytes: 300, cachedBytes: 256 })
    await client.run(op.reclaimComplete())
    t.equal(await failure(client.run(op.reclaimComplete())), STATUS.COMPLETE_ALREADY)
    const status = async (...args: Parameters<Nfs4TestClient['compound']>) => (await client.compound(...args)).status
    t.equal(await status([op.putrootfh()], { slot: 1, sequence: 2 }), STATUS.SEQ_MISORDERED)
    t.equal(await status([op.putrootfh()], { slot: 1, sequence: 1 }), 0)
    t.equal(await status([op.putrootfh()], { slot: 2, sequence: 1 }), STATUS.BADSLOT)
    t.equal(await status(Array(4).fill(op.putrootfh()), { slot: 1, sequence: 2 }), STATUS.TOO_MANY_OPS)
    t.equal(await status([op.lookup('x'.repeat(600))], { slot: 1, sequence: 2 }), STATUS.REQ_TOO_BIG)
    t.equal(await status([op.putrootfh()], { slot: 1, sequence: 2 }), 0, 'the slot has not changed')
    const much = op.getattr(0, 1, 3, 4, 8, 20, 33, 36, 37, 45, 47, 52, 53, 55)
    const large = [op.putrootfh(), much]
    t.equal(await status([...large, much], { slot: 1, sequence: 3, cache: true }), STATUS.REP_TOO_BIG_TO_CACHE)
    t.equal(await status([op.putrootfh(), much, much], { slot: 1, sequence: 4 }), STATUS.REP_TOO_BIG)
    await client.close()
  })
})

t.test('operations have their place in a COMPOUND', async (t) => {
  await withNfs(t, [{}], async ({ server, complaints }) => {
    const client = await Nfs4TestClient.start(server.port)
    const status = async (operations: Op[], minor?: number) => (await client.bare(operations, minor)).status
    t.equal(await status([op.putrootfh()]), STATUS.OP_NOT_IN_SESSION)
    t.equal(await status([createSession(client.clientId, 9), op.putrootfh()]), STATUS.NOT_ONLY_OP)
    t.equal(await status([], 3), STATUS.MINOR_VERS_MISMATCH)
    t.equal(await status([]), 0)
    const sequence: Op = { number: 53, args: (out) => out.raw(client.session).u32(99).u32(0).u32(0).u32(0) }
    t.equal(await client.status(op.putrootfh(), sequence), STATUS.SEQUENCE_POS)
    t.equal(await client.status({ number: 76 }), STATUS.OP_ILLEGAL)
    t.equal(await client.status({ number: 2 }), STATUS.OP_ILLEGAL)
    t.equal(await client.status(op.putrootfh(), { number: 50 }), STATUS.NOTSUPP, 'LAYOUTGET')
    t.equal(await client.status({ number: 30 }), STATUS.NOTSUPP, 'RENEW is of 4.0')
    t.equal(await client.status(op.putrootfh(), { number: 15 }), STATUS.BADXDR, 'arguments that end too early')
    const old = await Nfs4TestClient.start(server.port, { minor: 1 })
    t.equal(await old.status(op.putrootfh(), op.listxattrs()), STATUS.OP_ILLEGAL, '4.1 has no LISTXATTRS')
    t.same(complaints, [])
    await client.close()
    await old.close()
  })
})

t.test('a client that restarts loses its old state when it confirms the new one', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port, { owner: 'same', verifier: 'one' })
    const root = await client.handle('/overlay')
    await client.run(op.putfh(root), op.open('me', { name: 'file', deny: 3 }))
    const again = await Nfs4TestClient.connect(server.port)
    const { id, flags } = await again.exchangeId('same', 'two')
    t.not(id, client.clientId)
    t.equal(flags & 0x8000_0000, 0, 'not confirmed')
    const stranger = await Nfs4TestClient.start(server.port)
    t.equal(await stranger.status(op.putfh(root), op.open('other', { name: 'file' })), 10015, 'the old state counts')
    await again.createSession()
    t.equal(await stranger.status(op.putfh(root), op.open('other', { name: 'file' })), 0, 'and is gone now')
    t.equal(await client.status(op.putrootfh()), STATUS.BADSESSION)
    for (const each of [client, again, stranger]) await each.close()
  })
})

t.test('who asks for a client id counts', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port, { owner: 'mine', verifier: 'one' })
    const root = await client.handle('/overlay')
    t.equal((await client.exchangeId('mine', 'one')).flags >>> 31, 1, 'the same client asks again')
    await client.run(op.putfh(root), op.open('me', { name: 'file' }))
    const thief = await Nfs4TestClient.connect(server.port, { auth: authSys(1000, 1000) })
    t.equal(await failure(thief.exchangeId('mine', 'one')), STATUS.CLID_INUSE)
    t.equal(await failure(thief.exchangeId('mine', 'one', 0x4000_0000)), STATUS.PERM)
    t.equal(await failure(client.exchangeId('mine', 'two', 0x4000_0000)), STATUS.NOT_SAME)
    t.equal(await failure(client.exchangeId('nobody', 'two', 0x4000_0000)), STATUS.NOENT)
    t.equal(await failure(client.exchangeId('mine', 'one', 4)), STATUS.INVAL)
    await client.close()
    await thief.close()
  })
})

t.test('nothing is left of clients that restart or end, also of files without a name', async (t) => {
  const names = Array.from({ length: 20 }, (_, i) => `file${i}`)
  await withNfs(t, [Object.fromEntries(names.map((name) => [name, 'x']))], async ({ server }) => {
    const there = () => [server.counters.clients4, server.counters.states4, server.counters.files4]
    for (let i = 0; i < 5; i++) {
      const client = await Nfs4TestClient.start(server.port, { owner: 'restarts', verifier: `${i}` })
      const root = await client.handle('/overlay')
      const lock = op.lock(CURRENT, 'it', { offset: 0, length: 1 })
      for (const name of names) await client.compound([op.putfh(root), op.open('me', { name }), lock])
      if (i === 3) await client.run(op.putfh(root), op.remove('file0'))
      t.same(there(), i === 4 ? [1, 38, 19] : [1, 40, 20])
      await client.close()
    }
    const last = await Nfs4TestClient.start(server.port, { owner: 'restarts', verifier: 'last' })
    t.same(there(), [1, 0, 0])
    t.equal(server.counters.locks, 0)
    await last.close()
  })
})

t.test('sessions and clients end', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ server }) => {
    const client = await Nfs4TestClient.start(server.port)
    const status = async (...operations: Op[]) => (await client.bare(operations)).status
    t.equal(await status(DESTROY_CLIENTID(client.clientId)), STATUS.CLIENTID_BUSY)
    t.equal(await status(createSession(client.clientId, 7)), STATUS.SEQ_MISORDERED)
    t.equal(await status(createSession(client.clientId + 1n, 1)), STATUS.STALE_CLIENTID)
    const first = await client.bare([createSession(client.clientId, 2)])
    t.same(await client.bare([createSession(client.clientId, 2)]), first, 'the same reply again')
    t.equal(await status(DESTROY_SESSION(first.answers[0]!.value as Buffer)), 0)
    t.equal(await status(DESTROY_SESSION(client.session)), 0)
    t.equal(await status(DESTROY_SESSION(client.session)), STATUS.BADSESSION)
    t.equal(await status(DESTROY_CLIENTID(client.clientId)), 0)
    t.equal(await status(DESTROY_CLIENTID(client.clientId)), STATUS.STALE_CLIENTID)
    await client.close()
  })
})
