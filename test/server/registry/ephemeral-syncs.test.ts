import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { loadConfigReader } from '../../../config/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { systemRandom } from '../../../server/random.ts'
import { CreationRate } from '../../../server/registry/creation-rate.ts'
import { OwnLimits } from '../../../server/registry/own-limits.ts'
import { Template } from '../../../server/registry/template.ts'
import { UserQuotas } from '../../../server/registry/user-quotas.ts'
import { ViewPool } from '../../../server/registry/view-pool.ts'
import { configuration } from '../course.ts'

const ROOT = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: [] }
const SYNCS = /^(fsync|fdatasync|syncfs|sync_file_range)/

/** Counts what is synced while a view of a template is made, used and closed. */
async function syncsOf(t: Test, kind: 'ephemeral' | 'per-user'): Promise<number> {
  const dir = t.testdir({ material: { 'a.txt': 'A'.repeat(100_000) } })
  const owner = `owner = "${ROOT.uid}:${ROOT.gid}"\nquota = "1G"`
  const { readConfig } = await loadConfigReader()
  const context = { name: 'o', path: join(dir, 'o.toml'), overrides: new Map(), exportError: () => undefined }
  const environment = { uid: ROOT.uid, defaultStateDir: '/state' }
  const { views } = readConfig(configuration({ kind, more: owner }), { ...context, environment } as never).draft
  const pool = new ViewPool({ log: pino({ level: 'silent' }), now: () => performance.now(), mostOpen: 10 })
  const parts = {
    ...{ pool, random: systemRandom, wallNow: Date.now, rate: new CreationRate(() => 0), serverUid: ROOT.uid },
    accounts: { byName: async () => undefined },
    ownLimits: new OwnLimits(),
    users: new UserQuotas(undefined, { log: pool.log, wallNow: Date.now, viewsOf: () => [] }),
  }
  const template = await Template.open('course', views[0]!.template!, parts)
  let syncs = 0
  const probe = await open(dir)
  const handles = Object.getPrototypeOf(probe) as { sync: () => Promise<void>; datasync: () => Promise<void> }
  await probe.close()
  const { sync, datasync } = handles
  const counted = (work: () => Promise<void>) =>
    function (this: unknown) {
      syncs++
      return work.call(this)
    }
  Object.assign(handles, { sync: counted(sync), datasync: counted(datasync) })
  setFaultPoints({
    before: (op) => {
      if (SYNCS.test(op)) syncs++
      return 0
    },
    after: () => undefined,
  })
  try {
    const view = await template.create('daemon')
    const overlay = await view.use()
    const { root } = overlay
    const made = await overlay.mkdir(ROOT, root, 'd', { mode: 0o755 })
    const lower = (await overlay.lookup(ROOT, root, 'a.txt'))!
    await overlay.write(ROOT, lower, Buffer.from('changed'), 0, 'file')
    await overlay.commit(ROOT, made)
    await overlay.commit(ROOT, lower)
    view.release()
    await view.close()
    await pool.close()
    await template.close()
  } finally {
    setFaultPoints(undefined)
    Object.assign(handles, { sync, datasync })
  }
  return syncs
}

t.test('making, using and closing an ephemeral view syncs nothing', async (t) => {
  t.ok((await syncsOf(t, 'per-user')) > 5, 'a view that is kept is synced, so the count is right')
  t.equal(await syncsOf(t, 'ephemeral'), 0)
})
