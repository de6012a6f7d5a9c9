import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { copyUpLarge, makeWorld, work } from '../bench/copy-up-latency/load.ts'

const LARGE_BYTES = 256 * 1024 ** 2

t.test('operations of all kinds complete while a large file is copied up', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-latency-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const world = await makeWorld(dir, { largeBytes: LARGE_BYTES, clients: 4, copies: 50 })
  try {
    const latencies = await work(world, copyUpLarge(world))
    t.equal(latencies.size, 13)
    for (const [kind, { length }] of latencies) t.ok(length > 1, `${kind}: ${length} times`)
    t.equal(statSync(join(world.upper, 'large')).size, LARGE_BYTES)
  } finally {
    await world.overlay.unmount()
  }
})
