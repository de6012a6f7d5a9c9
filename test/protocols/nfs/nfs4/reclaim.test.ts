import t from 'tap'
import { type NfsServer, parseExport, startNfs } from '../../../../protocols/nfs/index.ts'
import { MemoryJournal } from '../../../helpers/memory-journal.ts'
import { ANONYMOUS, Nfs4TestClient, type Op, op } from '../../../helpers/nfs4-client.ts'
import { withOverlay } from '../../../helpers/overlay.ts'
import { HANDLE_KEY, WRITE_VERIFIER } from '../nfs-fixture.ts'
import { recordingLog } from '../recording-log.ts'

const STATUS = {
  GRACE: 10013,
  NO_GRACE: 10033,
  DENIED: 10010,
  BADSESSION: 10052,
  SHARE_DENIED: 10015,
  BAD_STATEID: 10025,
}
const RANGE = { offset: 0, length: 10 }

t.test('after a restart clients reclaim what they held, and nobody else gets anything meanwhile', async (t) => {
  await withOverlay(t, [{ file: 'x', other: 'y' }], async ({ overlay }) => {
    const journal = new MemoryJournal()
    let nowMs = 0
    const start = (boot: number): Promise<NfsServer> =>
      startNfs({
        ...{ host: '127.0.0.1', port: 0, handleKey: HANDLE_KEY, writeVerifier: WRITE_VERIFIER },
        exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') }],
        log: recordingLog().log,
        now: () => nowMs,
        nfs4: { journal, boot, serverOwner: Buffer.alloc(16, 5) },
      })
    let server = await start(1)
    const one = await Nfs4TestClient.start(server.port, { owner: 'one', verifier: 'v' })
    const idle = await Nfs4TestClient.start(server.port, { owner: 'idle', verifier: 'v' })
    const root = await one.handle('/overlay')
    const file = await one.run(op.putfh(root), op.lookup('file'), op.getfh())
    const held = await one.run(op.putfh(file), op.open('me', {}))
    await one.run(op.putfh(file), op.lock(held.stateid, 'process', RANGE))
    await server.close()
    await one.close()
    await idle.close()

    server = await start(2)
    t.equal(journal.records.length, 2, 'both clients are on the list')
    const back = await Nfs4TestClient.connect(server.port)
    back.session = one.session
    t.equal(await back.status(op.putrootfh()), STATUS.BADSESSION)
    await back.exchangeId('one', 'v')
    await back.createSession()
    const stranger = await Nfs4TestClient.start(server.port, { owner: 'stranger' })
    const during = async (...operations: Op[]) => await stranger.status(...operations)
    t.equal(await during(op.putfh(file), op.open('you', {})), STATUS.GRACE)
    t.equal(await during(op.putfh(file), op.open('you', { reclaims: true })), STATUS.NO_GRACE)
    t.equal(await during(op.putfh(file), op.read(ANONYMOUS, 0, 1)), STATUS.GRACE)
    t.equal(await during(op.putfh(file), op.write(ANONYMOUS, 0, 'z')), STATUS.GRACE)
    t.equal(await during(op.putfh(root), op.remove('other')), STATUS.GRACE)
    t.equal(await during(op.putfh(root), op.savefh(), op.rename('other', 'another')), STATUS.GRACE)
    t.equal(await during(op.putfh(root), op.getattr(1)), 0)
    t.same(await stranger.run(op.testStateids(held.stateid)), [STATUS.BAD_STATEID], 'of an earlier run')
    t.equal(await back.status(op.putfh(file), op.open('me', {})), STATUS.GRACE, 'it must reclaim first')
    const again = await back.run(op.putfh(file), op.open('me', { reclaims: true }))
    t.equal(await back.status(op.putfh(file), op.lock(again.stateid, 'process', RANGE)), STATUS.GRACE)
    await back.run(op.putfh(file), op.lock(again.stateid, 'process', { ...RANGE, reclaim: true }))
    await back.run(op.reclaimComplete())
    t.equal(await during(op.putfh(file), op.open('you', {})), STATUS.GRACE, 'the idle client has not come back')
    const idleBack = await Nfs4TestClient.start(server.port, { owner: 'idle', verifier: 'v' })
    t.equal(await during(op.putfh(file), op.open('you', {})), 0, 'all have reclaimed')
    t.equal(await during(op.putfh(file), op.lockt('other', RANGE)), STATUS.DENIED)
    t.equal(await back.status(op.putfh(file), op.open('me', { reclaims: true })), STATUS.NO_GRACE)

    const mine = await stranger.run(op.putfh(file), op.open('you', {}))
    t.equal(await stranger.status(op.putfh(file), op.lock(mine.stateid, 'process', RANGE)), STATUS.DENIED)
    nowMs += 60_000
    await stranger.run(op.putrootfh())
    nowMs += 60_000
    t.equal(
      await stranger.status(op.putfh(file), op.lock(mine.stateid, 'process', RANGE)),
      0,
      'it is gone: courtesy ends',
    )
    t.equal(await back.status(op.putrootfh()), STATUS.BADSESSION)
    for (const client of [back, stranger, idleBack]) await client.close()
    await server.close()
  })
})
