import { createServer } from 'node:net'
import t from 'tap'
import type { NfsExportSettings } from '../../../protocols/nfs/exports/export-table.ts'
import { type NfsServerOptions, parseExport, startNfs } from '../../../protocols/nfs/index.ts'
import { NfsClient, STATUS } from '../../helpers/nfs-client.ts'
import { onDisk, withOverlay } from '../../helpers/overlay.ts'
import { authSys, callMessage, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { HANDLE_KEY, WRITE_VERIFIER, withNfs } from './nfs-fixture.ts'
import { recordingLog } from './recording-log.ts'

const rules = parseExport('127.0.0.1(rw,no_root_squash,insecure)')

function options(exports: readonly NfsExportSettings[], more: Partial<NfsServerOptions> = {}): NfsServerOptions {
  return {
    host: '127.0.0.1',
    port: 0,
    exports,
    handleKey: HANDLE_KEY,
    writeVerifier: WRITE_VERIFIER,
    log: recordingLog().log,
    ...more,
  }
}

t.test('two exports have handles of their own, and nothing moves between them', async (t) => {
  await withOverlay(t, [{ a: '1' }], async (one) => {
    await withOverlay(t, [{ a: '22' }], async (two) => {
      const server = await startNfs(
        options([
          { name: 'one', overlay: one.overlay, rules },
          { name: 'zwei–2', overlay: two.overlay, rules: parseExport('127.0.0.1(ro,insecure)') },
        ]),
      )
      const client = await NfsClient.connect(server.port)
      try {
        const first = await client.mount('/one')
        const second = await client.mount(Buffer.from('/zwei–2').toString('latin1'))
        const [a1, a2] = [await client.lookup(first, 'a'), await client.lookup(second, 'a')]
        t.same([a1.attr?.size, a2.attr?.size], [1, 2])
        t.not(a1.attr?.fsid, a2.attr?.fsid)
        t.equal((await client.link(a1.handle!, second, 'b')).status, STATUS.XDEV)
        t.equal((await client.rename(first, 'a', second, 'b')).status, STATUS.XDEV)
        t.equal((await client.create(second, 'b')).status, STATUS.ROFS)
        t.equal((await client.create(first, 'b')).status, STATUS.OK)
        t.same([onDisk(one.upper), onDisk(two.upper)], [['b'], []])
      } finally {
        await client.close()
        await server.close()
      }
    })
  })
})

t.test('what cannot be served is refused at the start', async (t) => {
  await withOverlay(t, [{}], async ({ overlay }) => {
    const start = (exports: readonly NfsExportSettings[], more?: Partial<NfsServerOptions>) =>
      startNfs(options(exports, more))
    const one = { name: 'one', overlay, rules }
    await t.rejects(start([{ ...one, name: '' }]), /not a single path component/)
    await t.rejects(start([{ ...one, name: 'a/b' }]), /not a single path component/)
    await t.rejects(start([one, one]), /two exports are named 'one'/)
    await t.rejects(start([one, { ...one, name: 'two' }]), /already exported under another name/)
    await t.rejects(start([one], { handleKey: Buffer.alloc(16) }), /32 bytes/)
    await t.rejects(start([one], { writeVerifier: Buffer.alloc(4) }), /8 bytes/)
    const busy = createServer()
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
    const { port } = busy.address() as { port: number }
    await t.rejects(start([one], { port }), { code: 'EADDRINUSE' })
    busy.close()
  })
})

t.test('close finishes what runs, and the overlay can be unmounted then', async (t) => {
  await withNfs(t, [{}], async ({ client, root, server, upper }) => {
    const answers = Array.from({ length: 30 }, (_, i) => client.create(root, `f${i}`))
    await client.rpc.call([100003, 3, 0])
    await server.close()
    const settled = await Promise.allSettled(answers)
    t.ok(settled.every((result) => result.status === 'fulfilled' && result.value.status === STATUS.OK))
    t.equal(onDisk(upper).length, 30)
    await client.rpc.closed
  })
})

t.test('a mkdir that is asked for again after a lost connection is answered as the first time', async (t) => {
  await withNfs(t, [{}], async ({ client, root, connect, server }) => {
    const message = record(
      callMessage(
        4711,
        [100003, 3, 9],
        authSys(0, 0),
        new XdrWriter().opaque(root).string('dir').raw(Buffer.alloc(24)).bytes(),
      ),
    )
    const reply = await client.rpc.exchange(4711, message)
    t.equal(reply.readUInt32BE(24), STATUS.OK)
    const { localPort } = client.rpc.socket
    client.rpc.socket.resetAndDestroy()
    await client.rpc.closed
    const again = await connect(undefined, localPort)
    t.same(await again.rpc.exchange(4711, message), reply)
    t.equal(server.counters.duplicates, 1)
    t.equal((await again.mkdir(root, 'dir')).status, STATUS.EXIST, 'another request is another matter')
  })
})

t.test('the counters tell what was seen', async (t) => {
  await withNfs(t, [{}], async ({ client, server }) => {
    const before = server.counters.calls
    await client.null()
    t.equal(server.counters.calls, before + 1)
    t.match(server.counters, { connections: 1, garbage: 0, systemErrors: 0 })
  })
})
