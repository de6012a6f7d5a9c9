import t from 'tap'
import { parseExport, startNfs } from '../../../../protocols/nfs/index.ts'
import { type Handle, NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import { HANDLE_KEY, WRITE_VERIFIER, withNfs } from '../nfs-fixture.ts'
import { recordingLog } from '../recording-log.ts'

t.setTimeout(300_000)

const CONNECTIONS = 16
const FILES_EACH = 500

/** Creates files and removes them again, several at a time, but every fourth; returns the handles of those that stay and of those that went. */
async function comeAndGo(client: NfsClient, root: Handle, name: string): Promise<{ stayed: Handle[]; gone: Handle[] }> {
  const [stayed, gone]: [Handle[], Handle[]] = [[], []]
  const one = async (i: number) => {
    const { status, handle } = await client.create(root, `${name}-${i}`)
    if (status !== STATUS.OK || !handle) throw new Error(`CREATE: ${status}`)
    if (i % 4 === 0) {
      stayed.push(handle)
      return
    }
    const removed = await client.remove(root, `${name}-${i}`)
    if (removed.status !== STATUS.OK) throw new Error(`REMOVE: ${removed.status}`)
    gone.push(handle)
  }
  for (let i = 0; i < FILES_EACH; i += 5) await Promise.all([0, 1, 2, 3, 4].map((more) => one(i + more)))
  return { stayed, gone }
}

t.test('handles of files that stay outlive a restart, whatever comes and goes beside them', async (t) => {
  await withNfs(t, [{}], async (fixture) => {
    const { root, connect, server } = fixture
    const clients: NfsClient[] = []
    for (let i = 0; i < CONNECTIONS; i++) clients.push(await connect())
    const results = await Promise.all(clients.map((client, i) => comeAndGo(client, root, `c${i}`)))
    await server.close()
    const overlay = await fixture.remount()
    const again = await startNfs({
      host: '127.0.0.1',
      port: 0,
      exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') }],
      handleKey: HANDLE_KEY,
      writeVerifier: WRITE_VERIFIER,
      log: recordingLog().log,
    })
    const client = await NfsClient.connect(again.port)
    try {
      const counts = { stale: 0, back: 0 }
      for (const { stayed, gone } of results) {
        for (const handle of stayed) if ((await client.getattr(handle)).status !== STATUS.OK) counts.stale++
        for (const handle of gone) if ((await client.getattr(handle)).status !== STATUS.STALE) counts.back++
      }
      const stayed = results.flatMap((result) => result.stayed)
      t.same(counts, { stale: 0, back: 0 }, `of ${stayed.length} files that stayed`)
      t.equal((await client.list(root)).length, stayed.length + 2)
    } finally {
      await client.close()
      await again.close()
    }
  })
})
