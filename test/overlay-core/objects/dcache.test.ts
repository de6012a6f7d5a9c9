import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Inode, mount, parseOptions } from '../../../overlay-core/index.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const PAIRS = 100

/** Processor time of the main thread in µs for making and removing files in the only directory that is cached. */
async function costOfPairs(t: Test, dentryLimit: number): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-dcache-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  for (const part of ['l/d', 'u', 'w']) mkdirSync(join(dir, part), { recursive: true })
  const overlay = await mount(parseOptions(`lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`), { dentryLimit })
  try {
    const at = (await overlay.lookup(ROOT, overlay.root, 'd')) as Inode
    const pair = async () => {
      await overlay.create(ROOT, at, 'f', { mode: 0o644 })
      await overlay.unlink(ROOT, at, 'f')
    }
    await pair()
    const before = process.threadCpuUsage()
    for (let i = 0; i < PAIRS; i++) await pair()
    const { user, system } = process.threadCpuUsage(before)
    return user + system
  } finally {
    await overlay.unmount()
  }
}

t.test(
  'when the last name that could be dropped goes, that costs no more in a large cache than in a small one',
  async (t) => {
    await costOfPairs(t, 50)
    const small = await costOfPairs(t, 50)
    const large = await costOfPairs(t, 4_000_000)
    t.ok(large < small * 8, `${small} µs and ${large} µs`)
  },
)
