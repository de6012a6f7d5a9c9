import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { NfsClient } from '../../../helpers/nfs-client.ts'

const NAMES = 20_000
/** Of one turn of the server's event loop, in processor time; on a slow machine a small part of all that the listing takes. */
const LONGEST_MS = 20
const LARGEST_PART = 1 / 20

t.setTimeout(180_000)

t.test('the first READDIRPLUS of a large directory leaves the event loop to others all the time', async (t) => {
  const folder = t.testdir({ lower: { many: {} } })
  for (let i = 0; i < NAMES; i++) writeFileSync(join(folder, 'lower/many', `name-of-entry-${i}`), '')
  mkdirSync(join(folder, 'lower/other'))
  const server = fork(fileURLToPath(new URL('../../../bench/handles/served.ts', import.meta.url)), [folder])
  t.teardown(() => server.kill('SIGKILL'))
  const hear = async () => ((await once(server, 'message')) as [{ port: number; burstMs: number }])[0]
  server.send('start')
  const client = await NfsClient.connect((await hear()).port)
  const many = await client.walk(await client.mount(), 'many')
  server.send('watch')
  await hear()
  const from = performance.now()
  const entries = await client.list(many, 'readdirplus', 65_536)
  const allMs = performance.now() - from
  server.send('report')
  const { burstMs } = await hear()
  t.equal(entries.length, NAMES + 2)
  t.equal(new Set(entries.map(({ name }) => name)).size, NAMES + 2)
  t.ok(
    burstMs < Math.max(LONGEST_MS, allMs * LARGEST_PART),
    `the longest turn took ${burstMs.toFixed(1)} ms of ${allMs.toFixed(0)}`,
  )
  await client.close()
  server.send('stop')
  await once(server, 'exit')
})
