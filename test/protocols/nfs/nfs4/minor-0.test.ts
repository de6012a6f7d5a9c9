import t from 'tap'
import {
  ANONYMOUS,
  type Answer,
  Nfs4TestClient,
  type Op,
  op,
  type Range,
  type StateidValue,
} from '../../../helpers/nfs4-client.ts'
import type { XdrReader, XdrWriter } from '../../../helpers/rpc-client.ts'
import { withNfs } from '../nfs-fixture.ts'

const STATUS = {
  STALE_CLIENTID: 10022,
  BAD_SEQID: 10026,
  BAD_STATEID: 10025,
  LOCKS_HELD: 10037,
  DENIED: 10010,
  NOTSUPP: 10004,
  RESOURCE: 10018,
}
const stateidOf = (from: XdrReader): StateidValue => ({ seqid: from.u32(), other: Buffer.from(from.fixed(12)) })
const put = (out: XdrWriter, { seqid, other }: StateidValue) => out.u32(seqid).raw(other)

const setclientid = (name: string): Op<{ id: bigint; confirm: Buffer }> => ({
  number: 35,
  args: (out) =>
    out.raw(Buffer.from('verifier')).string(name).u32(0x4000_0000).string('tcp').string('0.0.0.0.0.0').u32(0),
  result: (from) => ({ id: from.u64(), confirm: Buffer.from(from.fixed(8)) }),
})
const confirm = (id: bigint, verifier: Buffer): Op => ({ number: 36, args: (out) => out.u64(id).raw(verifier) })
const renew = (id: bigint): Op => ({ number: 30, args: (out) => out.u64(id) })

interface Opened {
  readonly stateid: StateidValue
  readonly flags: number
}
const open = (id: bigint, owner: string, seqid: number, name: string): Op<Opened> => ({
  number: 18,
  args: (out) => out.u32(seqid).u32(3).u32(0).u64(id).string(owner).u32(0).u32(0).string(name),
  result: (from) => {
    const stateid = stateidOf(from)
    from.fixed(20)
    const flags = from.u32()
    from.fixed(4 * from.u32())
    from.u32()
    return { stateid, flags }
  },
})
const openConfirm = (stateid: StateidValue, seqid: number): Op<StateidValue> => ({
  number: 20,
  args: (out) => put(out, stateid).u32(seqid),
  result: stateidOf,
})
const close = (stateid: StateidValue, seqid: number): Op<StateidValue> => ({
  number: 4,
  args: (out) => put(out.u32(seqid), stateid),
  result: stateidOf,
})
const lock = (
  id: bigint,
  opened: StateidValue,
  { openSeqid, lockSeqid, owner, range }: { openSeqid: number; lockSeqid: number; owner: string; range: Range },
): Op<StateidValue> => ({
  number: 12,
  args: (out) => {
    out.u32(2).u32(0).u64(range.offset).u64(range.length).u32(1).u32(openSeqid)
    put(out, opened).u32(lockSeqid).u64(id).string(owner)
  },
  result: stateidOf,
})
const locku = (stateid: StateidValue, seqid: number, { offset, length }: Range): Op<StateidValue> => ({
  number: 14,
  args: (out) => put(out.u32(2).u32(seqid), stateid).u64(offset).u64(length),
  result: stateidOf,
})
const releaseLockOwner = (id: bigint, owner: string): Op => ({ number: 39, args: (out) => out.u64(id).string(owner) })

t.test('requests of an owner have an order, and are executed once', async (t) => {
  await withNfs(t, [{ file: 'content' }], async ({ server, complaints }) => {
    const client = await Nfs4TestClient.connect(server.port, { minor: 0 })
    const last = async <T>(...operations: readonly [...Op[], Op<T>]): Promise<Answer<T>> =>
      (await client.bare(operations as readonly Op[])).answers.at(-1) as Answer<T>
    const { value: named } = await last(setclientid('a client'))
    const { id } = named!
    t.equal((await last(renew(id))).status, STATUS.STALE_CLIENTID, 'not confirmed')
    t.equal((await last(confirm(id, Buffer.alloc(8)))).status, STATUS.STALE_CLIENTID)
    t.equal((await last(confirm(id, named!.confirm))).status, 0)
    t.equal((await last(renew(id))).status, 0)
    const { value: root } = await last(op.putrootfh(), op.lookup('overlay'), op.getfh())
    const inRoot = op.putfh(root!)

    const opened = await last(inRoot, open(id, 'me', 5, 'file'))
    t.equal(opened.status, 0)
    t.equal(opened.value!.flags & 2, 2, 'to be confirmed')
    const again = await client.bare([inRoot, open(id, 'me', 5, 'file'), op.getfh()])
    t.same(again.answers[1], opened, 'sent again: the same reply')
    const file = op.putfh(again.answers[2]!.value as Buffer)
    t.equal((await last(file, openConfirm(opened.value!.stateid, 8))).status, STATUS.BAD_SEQID)
    const confirmed = await last(file, openConfirm(opened.value!.stateid, 6))
    t.equal(confirmed.status, 0)
    t.equal((await last(inRoot, open(id, 'me', 7, 'absent'))).status, 2, 'an error counts, too')
    t.equal((await last(inRoot, open(id, 'me', 7, 'absent'))).status, 2)
    const stateid = confirmed.value!
    t.equal((await last(file, op.read(stateid, 0, 7))).value!.data.toString(), 'content')

    const range = { offset: 0, length: 10 }
    const locking = lock(id, stateid, { openSeqid: 8, lockSeqid: 1, owner: 'process', range })
    const locked = await last(file, locking)
    t.equal(locked.status, 0)
    t.same(await last(file, locking), locked)
    t.equal((await last(releaseLockOwner(id, 'process'))).status, STATUS.LOCKS_HELD)
    t.equal((await last(file, locku(locked.value!, 3, range))).status, STATUS.BAD_SEQID)
    t.equal((await last(file, locku(locked.value!, 2, range))).status, 0)
    t.equal((await last(releaseLockOwner(id, 'process'))).status, 0)

    const closed = await last(file, close(stateid, 9))
    t.equal(closed.status, 0)
    t.same(await last(file, close(stateid, 9)), closed, 'a CLOSE that is sent again')
    t.equal((await last(file, op.read(stateid, 0, 7))).status, STATUS.BAD_STATEID)
    t.equal((await last(inRoot, op.secinfoNoName())).status, 10044, 'operations of 4.1 are illegal')
    t.same(complaints, [])
    await client.close()
  })
})

t.test('one COMPOUND gets one large reply at most', async (t) => {
  await withNfs(t, [{ file: 'x'.repeat(1024 * 1024) }], async ({ server }) => {
    const client = await Nfs4TestClient.connect(server.port, { minor: 0 })
    const whole = op.read(ANONYMOUS, 0, 1024 * 1024)
    const operations = [
      op.putrootfh(),
      op.lookup('overlay'),
      op.lookup('file'),
      ...Array.from({ length: 100 }, () => whole),
    ]
    const { status, answers } = await client.bare(operations)
    t.equal(status, STATUS.RESOURCE)
    t.same(
      answers.map((answer) => answer.status),
      [0, 0, 0, 0, STATUS.RESOURCE],
    )
    await client.close()
  })
})
