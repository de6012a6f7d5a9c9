import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { usageOf } from '../helpers/upper-usage.ts'
import { AS_ROOT, BIN, type Course, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

const KiB = 1024
const DQUOT = 69
const LIMITS = 'create = true\nidle = "1s"\nquota = "100K"\nquota_files = 20\nquota_soft = "60K"'

interface Shown {
  readonly state: string
  readonly directory: string
  readonly quota: { readonly bytes: number; readonly files: number; readonly hardBytes: number }
}

async function show({ dir }: Course, user: string): Promise<Shown> {
  const { stdout } = await run(['view', 'show', `course/${user}`, '--json', '--state-dir', join(dir, 'state')])
  return JSON.parse(stdout)
}

/** Waits until the server says the usage that the upper really has. */
async function exact(all: Course, user: string): Promise<Shown> {
  for (;;) {
    const shown = await show(all, user)
    const { bytes, files } = usageOf(join(shown.directory, 'upper'))
    if (shown.quota.bytes === bytes && shown.quota.files === files) return shown
    await pause(100)
  }
}

t.test('both doors keep to the quota of a view together, and another view is not affected', AS_ROOT, async (t) => {
  const all = await course(t, { more: LIMITS })
  const { nfs, dav } = all
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.create(root, 'f')).handle!
  const put = (name: string, size: number) =>
    dav('PUT', `/course/~daemon/${name}`, { body: 'x'.repeat(size) }).then(({ status }) => status)
  const writes = Array.from({ length: 10 }, (_, i) => daemon.write(file, i * 8 * KiB, Buffer.alloc(8 * KiB, 1), 0))
  const puts = Array.from({ length: 10 }, (_, i) => put(`p${i}`, 8 * KiB))
  const [written, sent] = [(await Promise.all(writes)).map(({ status }) => status), await Promise.all(puts)]
  t.ok(written.includes(DQUOT) || sent.includes(507), 'they do not fit all')
  t.same([...new Set([...written, 0])].sort(), written.includes(DQUOT) ? [0, DQUOT] : [0])
  t.same([...new Set([...sent, 201])].sort(), sent.includes(507) ? [201, 507] : [201])
  const full = await exact(all, 'daemon')
  t.ok(full.quota.bytes <= 100 * KiB && full.quota.bytes > 90 * KiB, `${full.quota.bytes} bytes`)

  const { quota } = full
  const figures = (await daemon.fsstat(root)).numbers
  t.same([figures.tbytes, figures.fbytes], [100 * KiB, 100 * KiB - quota.bytes])
  t.same([figures.tfiles, figures.ffiles], [20, 20 - quota.files])
  const found = await dav('PROPFIND', '/course/~daemon/', {
    headers: { depth: '0' },
    body: '<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>',
  })
  t.match(found.body, `quota-available-bytes>${100 * KiB - quota.bytes}<`)
  t.match(found.body, `quota-used-bytes>${quota.bytes}<`)
  const plain = await run(['view', 'show', 'course/daemon', '--state-dir', join(all.dir, 'state')])
  t.match(plain.stdout, `bytes:     ${quota.bytes}, soft limit 61440, limit 102400, above the soft limit since `)

  t.equal((await daemon.write(file, 80 * KiB, Buffer.alloc(64 * KiB), 2)).status, DQUOT)
  t.equal(await put('welcome.txt', 64 * KiB), 507)
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'welcome', 'the old content stays')
  const other = await nfs.as(BIN.uid).mount('/course/bin')
  const others = (await nfs.as(BIN.uid).create(other, 'g')).handle!
  t.equal((await nfs.as(BIN.uid).write(others, 0, Buffer.alloc(50 * KiB))).status, 0, 'another view has its own quota')
  t.equal((await daemon.setattr(file, { size: 1 })).status, 0)
  t.equal((await daemon.remove(root, 'f')).status, 0)
  t.equal((await daemon.remove(root, 'welcome.txt')).status, 0, 'a lower file')
  t.equal(await put('welcome.txt', KiB), 201)
  await exact(all, 'daemon')
})

t.test('the usage outlives the closing of a view and a kill of the server', AS_ROOT, async (t) => {
  const first = await course(t, { more: LIMITS })
  const fill = async ({ nfs }: Course, name: string) => {
    const root = await nfs.as(DAEMON.uid).mount('/course/daemon')
    const file = (await nfs.as(DAEMON.uid).create(root, name)).handle!
    t.equal((await nfs.as(DAEMON.uid).write(file, 0, Buffer.alloc(10 * KiB))).status, 0)
  }
  await fill(first, 'one')
  let shown = await show(first, 'daemon')
  while (shown.state !== 'closed') {
    await pause(100)
    shown = await show(first, 'daemon')
  }
  t.same([shown.quota.bytes, shown.quota.files], [10 * KiB, 1], 'it is known while the view is closed')
  const saved = join(shown.directory, 'usage.json')
  t.equal(JSON.parse(readFileSync(saved, 'utf8')).clean, true)
  await fill(first, 'two')
  t.equal(JSON.parse(readFileSync(saved, 'utf8')).clean, false, 'the mark is gone before the first change')
  await first.server.stop('SIGKILL')

  const second = await course(t, { dir: first.dir })
  t.same((await show(second, 'daemon')).quota.bytes, 10 * KiB, 'the last known figure')
  await fill(second, 'three')
  const counted = await exact(second, 'daemon')
  t.same([counted.quota.bytes, counted.quota.files], [30 * KiB, 3])
  await second.server.stop()
  writeFileSync(saved, 'damaged')

  const third = await course(t, { dir: first.dir })
  await fill(third, 'four')
  t.equal((await exact(third, 'daemon')).quota.bytes, 40 * KiB)
})

t.test('a reload applies other limits to an open view at once', AS_ROOT, async (t) => {
  const all = await course(t, { more: LIMITS.replace('idle = "1s"', 'idle = "1h"') })
  const put = async (size: number) => (await all.dav('PUT', '/course/~daemon/f', { body: 'x'.repeat(size) })).status
  t.equal(await put(30 * KiB), 201)
  const path = join(all.dir, 'o.toml')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"100K"', '"64K"'))
  t.match(await run(['reload', '--state-dir', join(all.dir, 'state')]), { status: 0 })
  t.equal(await put(80 * KiB), 507)
  t.equal(await put(60 * KiB), 204)
})
