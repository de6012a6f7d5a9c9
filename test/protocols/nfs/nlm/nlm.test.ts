import t from 'tap'
import { MemoryJournal } from '../../../helpers/memory-journal.ts'
import { NLM, NLM_STATUS, type NlmLock, NSM, writeLock } from '../../../helpers/nlm-client.ts'
import { type RpcClient, XdrWriter } from '../../../helpers/rpc-client.ts'
import { withNlm } from './nlm-fixture.ts'

const lock = (handle: Buffer, owner: string, offset: bigint, length: bigint, svid = 7): NlmLock => ({
  handle,
  owner,
  svid,
  offset,
  length,
})

t.test('locks of one owner never conflict, those of others do, and TEST tells who holds it', async (t) => {
  await withNlm(t, async ({ file, nlm }) => {
    const one = await nlm('one')
    const two = await nlm('two')
    t.equal(await one.lock(lock(file, 'a', 10n, 10n)), NLM_STATUS.GRANTED)
    t.equal(await one.lock(lock(file, 'a', 15n, 0n)), NLM_STATUS.GRANTED)
    t.equal(await two.lock(lock(file, 'a', 0n, 11n)), NLM_STATUS.DENIED, 'an owner is one of its machine')
    t.equal(await one.lock(lock(file, 'b', 0n, 11n)), NLM_STATUS.DENIED)
    t.equal(await one.lock(lock(file, 'a', 0n, 11n, 8)), NLM_STATUS.DENIED, 'and of its process')
    t.equal(await two.lock(lock(file, 'a', 0n, 10n)), NLM_STATUS.GRANTED)
    t.same(await two.test(lock(file, 'a', 12n, 1n)), {
      status: NLM_STATUS.DENIED,
      holder: { exclusive: true, svid: 7, owner: 'a', offset: 10n, length: 0n },
    })
    t.equal(await one.unlock(lock(file, 'a', 0n, 0n)), NLM_STATUS.GRANTED)
    t.same(await two.test(lock(file, 'a', 12n, 1n)), { status: NLM_STATUS.GRANTED, holder: undefined })
    t.equal(await two.lock(lock(file, 'a', 0xffff_ffff_ffff_fffen, 1n)), NLM_STATUS.GRANTED)
    t.equal(await two.lock(lock(file, 'a', 0xffff_ffff_ffff_fffen, 3n)), NLM_STATUS.FBIG)
    t.equal(await one.lock(lock(file, 'r', 50n, 1n), { exclusive: false }), NLM_STATUS.GRANTED)
    t.equal(await two.lock(lock(file, 'r', 50n, 1n), { exclusive: false }), NLM_STATUS.GRANTED, 'shared')
    t.equal(await two.lock(lock(file, 'r', 50n, 1n), {}), NLM_STATUS.DENIED)
  })
})

t.test('a lock that was waited for is granted by a call-back, unless it was cancelled', async (t) => {
  await withNlm(t, async ({ file, nlm, hear, heard }) => {
    const one = await nlm('one')
    const two = await nlm('two')
    await one.lock(lock(file, 'a', 0n, 0n))
    const wanted = lock(file, 'b', 5n, 5n, 99)
    t.equal(await two.lock(wanted, { block: true }), NLM_STATUS.BLOCKED)
    t.equal(await two.lock(wanted, { block: true }), NLM_STATUS.BLOCKED, 'asked again')
    const cancelled = lock(file, 'c', 5n, 5n)
    t.equal(await two.lock(cancelled, { block: true }), NLM_STATUS.BLOCKED)
    t.equal(await two.cancel(cancelled), NLM_STATUS.GRANTED)
    await one.unlock(lock(file, 'a', 0n, 0n))
    const granted = await hear('GRANTED')
    t.match(granted, { exclusive: true, lock: { name: 'two', owner: 'b', svid: 99, offset: 5n, length: 5n } })
    t.same(granted.lock?.handle, file)
    t.equal((await one.test(lock(file, 'a', 5n, 1n))).holder?.owner, 'b')
    await two.unlock(wanted)
    t.equal((await one.test(lock(file, 'a', 0n, 0n))).status, NLM_STATUS.GRANTED)
    t.equal(heard.length, 1)
  })
})

t.test('a client that does not want the lock any more loses it to the next one', async (t) => {
  await withNlm(t, async (fixture) => {
    const { file, nlm, hear } = fixture
    fixture.grantedStatus = NLM_STATUS.DENIED
    const one = await nlm('one')
    const two = await nlm('two')
    await one.lock(lock(file, 'a', 0n, 0n))
    await two.lock(lock(file, 'b', 0n, 0n), { block: true })
    await two.lock(lock(file, 'c', 0n, 0n), { block: true })
    await one.unlock(lock(file, 'a', 0n, 0n))
    t.equal((await hear('GRANTED')).lock?.owner, 'b')
    t.equal((await hear('GRANTED')).lock?.owner, 'c')
    while ((await one.test(lock(file, 'a', 0n, 0n))).status !== NLM_STATUS.GRANTED);
    t.pass('and is free in the end')
  })
})

t.test('waits that would never end are refused', async (t) => {
  await withNlm(t, async ({ file, nlm }) => {
    const one = await nlm('one')
    const two = await nlm('two')
    await one.lock(lock(file, 'a', 0n, 1n))
    await two.lock(lock(file, 'b', 1n, 1n))
    t.equal(await one.lock(lock(file, 'a', 1n, 1n), { block: true }), NLM_STATUS.BLOCKED)
    t.equal(await two.lock(lock(file, 'b', 0n, 1n), { block: true }), NLM_STATUS.DEADLCK)
  })
})

t.test('the procedures that answer by calls of their own', async (t) => {
  await withNlm(t, async ({ file, nlm, hear }) => {
    const one = await nlm('one')
    const two = await nlm('two')
    const message = async (
      procedure: 'LOCK_MSG' | 'UNLOCK_MSG' | 'TEST_MSG' | 'CANCEL_MSG',
      write: (writer: XdrWriter) => XdrWriter,
    ) => {
      const cookie = one.cookie()
      const reply = await two.call(procedure, write(new XdrWriter().opaque(cookie)).bytes())
      reply.end()
      const answer = await hear(procedure.replace('MSG', 'RES'))
      t.same(answer.cookie, cookie, procedure)
      return answer.status
    }
    const wanted = lock(file, 'b', 0n, 0n)
    await one.lock(lock(file, 'a', 0n, 0n))
    t.equal(await message('TEST_MSG', (writer) => writeLock(writer.u32(1), 'two', wanted)), NLM_STATUS.DENIED)
    t.equal(await message('LOCK_MSG', (writer) => two.lockArgs(writer, wanted, { block: true })), NLM_STATUS.BLOCKED)
    t.equal(await message('CANCEL_MSG', (writer) => writeLock(writer.u32(1).u32(1), 'two', wanted)), NLM_STATUS.GRANTED)
    t.equal(await message('LOCK_MSG', (writer) => two.lockArgs(writer, wanted, { block: true })), NLM_STATUS.BLOCKED)
    await one.unlock(lock(file, 'a', 0n, 0n))
    const granted = await hear('GRANTED_MSG')
    t.equal(granted.lock?.owner, 'b')
    ;(await two.call('GRANTED_RES', new XdrWriter().opaque(granted.cookie!).u32(NLM_STATUS.DENIED).bytes())).end()
    t.equal((await one.test(lock(file, 'a', 0n, 0n))).status, NLM_STATUS.GRANTED, 'refused by the client')
    t.equal(await message('UNLOCK_MSG', (writer) => writeLock(writer, 'two', wanted)), NLM_STATUS.GRANTED)
  })
})

t.test('who may not open a file may not lock it; forged, stale and foreign handles are refused', async (t) => {
  await withNlm(t, async ({ file, root, client, nlm }) => {
    const root0 = await nlm('one')
    const stranger = await nlm('one', 1000)
    t.equal(await stranger.lock(lock(file, 'a', 0n, 0n)), NLM_STATUS.FAILED)
    const other = await client.walk(root, 'other')
    t.equal(await stranger.lock(lock(other, 'a', 0n, 0n)), NLM_STATUS.GRANTED, 'reading is enough')
    t.equal(await root0.lock(lock(root, 'a', 0n, 0n)), NLM_STATUS.FAILED, 'a directory')
    const forged = Buffer.from(file)
    forged[30]! ^= 1
    t.equal(await root0.lock(lock(forged, 'a', 0n, 0n)), NLM_STATUS.FAILED)
    t.equal(await root0.lock(lock(Buffer.from('short'), 'a', 0n, 0n)), NLM_STATUS.FAILED)
    const gone = (await client.create(root, 'gone')).handle!
    t.equal(await root0.lock(lock(gone, 'a', 0n, 0n)), NLM_STATUS.GRANTED)
    await client.remove(root, 'gone')
    t.equal(await root0.lock(lock(gone, 'b', 0n, 0n)), NLM_STATUS.STALE_FH)
    t.equal(await root0.unlock(lock(gone, 'a', 0n, 0n)), NLM_STATUS.GRANTED, 'a lock on what is gone can be given up')
  })
})

t.test('DOS shares, and locks without a monitor, which FREE_ALL frees', async (t) => {
  await withNlm(t, async ({ file, nlm, connect }) => {
    const one = await nlm('one')
    const two = await nlm('two')
    t.equal(await one.share(file, 'a', 2, 1), NLM_STATUS.GRANTED, 'reads, denies writing')
    t.equal(await two.share(file, 'b', 0, 1), NLM_STATUS.GRANTED, 'reading beside it')
    t.equal(await two.share(file, 'b', 0, 3), NLM_STATUS.DENIED)
    t.equal(await two.share(file, 'c', 1, 0), NLM_STATUS.DENIED, 'denying what the other does')
    t.equal(await one.unshare(file, 'a'), NLM_STATUS.GRANTED)
    t.equal(await two.share(file, 'b', 0, 3), NLM_STATUS.GRANTED)
    t.equal(await two.lock(lock(file, 'b', 0n, 0n), {}, 'NM_LOCK'), NLM_STATUS.GRANTED)
    const freeAll = async (rpc: RpcClient) =>
      (await rpc.call([NLM, 4, 23], undefined, new XdrWriter().string('two').u32(3).bytes())).end()
    await freeAll(two.rpc)
    t.equal(await one.lock(lock(file, 'a', 0n, 0n)), NLM_STATUS.DENIED, 'an ordinary port may not say so')
    await freeAll((await connect(undefined, 904)).rpc)
    t.equal(await one.lock(lock(file, 'a', 0n, 0n)), NLM_STATUS.GRANTED)
    t.equal(await one.share(file, 'a', 3, 3), NLM_STATUS.GRANTED)
  })
})

t.test('a client that has restarted holds nothing any more; saying it twice frees nothing new', async (t) => {
  await withNlm(t, async ({ file, nlm, client, connect }) => {
    const one = await nlm('one.example.com')
    const two = await nlm('two')
    const monitor = await connect(undefined, 903)
    const notify = async (name: string, state: number, { rpc } = monitor) =>
      (await rpc.call([NSM, 1, 6], undefined, new XdrWriter().string(name).u32(state).bytes())).end()
    await one.lock(lock(file, 'a', 0n, 10n), { state: 5 })
    await two.lock(lock(file, 'b', 10n, 10n), { state: 1 })
    await notify('one', 5)
    t.equal(await two.lock(lock(file, 'b', 0n, 5n)), NLM_STATUS.DENIED, 'the state that it is known in')
    await notify('one', 6, client)
    t.equal(await two.lock(lock(file, 'b', 0n, 5n)), NLM_STATUS.DENIED, 'an ordinary port is not the monitor')
    await notify('one', 7)
    t.equal(await two.lock(lock(file, 'b', 0n, 5n)), NLM_STATUS.GRANTED)
    t.equal(await one.lock(lock(file, 'a', 10n, 5n), { state: 7 }), NLM_STATUS.DENIED, 'others keep theirs')
    await one.lock(lock(file, 'a', 30n, 5n), { state: 7 })
    await notify('one', 7)
    t.equal(await two.lock(lock(file, 'b', 30n, 5n)), NLM_STATUS.DENIED)
  })
})

t.test(
  'after a restart clients are told, get their locks back in the grace period, and others wait for its end',
  async (t) => {
    const journal = new MemoryJournal()
    await withNlm(
      t,
      async ({ file, nlm, heard }) => {
        const one = await nlm('one')
        t.equal(await one.lock(lock(file, 'a', 0n, 0n)), NLM_STATUS.GRANTED, 'no grace period when nobody had locks')
        t.equal(await one.lock(lock(file, 'a', 0n, 0n), { reclaim: true }), NLM_STATUS.GRACE, 'nor anything to reclaim')
        t.equal(heard.length, 0)
      },
      { journal },
    )
    await withNlm(
      t,
      async ({ file, nlm, hear }) => {
        t.match(await hear('SM_NOTIFY'), { name: '127.0.0.1', state: 3 })
        t.match(await hear('SM_NOTIFY'), { name: 'server', state: 3 })
        const one = await nlm('one')
        const two = await nlm('two')
        t.equal(await two.lock(lock(file, 'b', 0n, 0n)), NLM_STATUS.GRACE)
        t.equal((await two.test(lock(file, 'b', 0n, 0n))).status, NLM_STATUS.GRACE)
        t.equal(await one.lock(lock(file, 'a', 0n, 0n), { reclaim: true }), NLM_STATUS.GRANTED)
        let status: number = NLM_STATUS.GRACE
        while (status === NLM_STATUS.GRACE) status = await two.lock(lock(file, 'b', 0n, 0n))
        t.equal(status, NLM_STATUS.DENIED, 'the lock is held again when the grace period ends')
      },
      { journal, graceMs: 300 },
    )
    t.match(journal.records.join('\n'), /"name":"one"/, 'and would be reclaimed after the next restart')
  },
)

t.test(
  'hosts that hold locks are not forgotten for those that only ask, and names share what their address may have',
  async (t) => {
    await withNlm(t, async ({ file, nlm, connect }) => {
      const holder = await nlm('holder')
      t.equal(await holder.lock(lock(file, 'a', 0n, 10n), { state: 1 }), NLM_STATUS.GRANTED)
      const asker = await nlm()
      for (let i = 0; i < 4200; i++) {
        await asker.call(
          'TEST',
          new XdrWriter()
            .opaque(Buffer.alloc(4))
            .u32(1)
            .string(`made-up-${i}`)
            .opaque(file)
            .opaque(Buffer.from('o'))
            .u32(1)
            .u64(0)
            .u64(1)
            .bytes(),
        )
      }
      const { rpc } = await connect(undefined, 905)
      await rpc.call([NSM, 1, 6], undefined, new XdrWriter().string('holder').u32(3).bytes())
      t.equal(await (await nlm('other')).lock(lock(file, 'b', 0n, 10n)), NLM_STATUS.GRANTED, 'the restart was heard')
    })
  },
)
