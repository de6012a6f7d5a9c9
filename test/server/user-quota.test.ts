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
const NOTES = `
[views.notes]
stack = "course"
upper = "per-user"
directory = "notes"
create = true
idle = "1s"
[exports.notes-nfs]
view = "notes"
door = "nfs"
clients = ["127.0.0.0/8(rw,root_squash,insecure)"]
[exports.notes-web]
view = "notes"
door = "webdav"
`
const users = (limits: string) => ({ more: 'create = true\nidle = "1s"', tables: `${NOTES}[users]\n${limits}\n` })

interface Shown {
  readonly state: string
  readonly directory: string
  readonly quota?: object
  readonly user: {
    readonly bytes: number
    readonly files: number
    readonly hardBytes: number
    readonly bytesAboveSinceMs?: number
  }
}

async function show({ dir }: Course, view: string): Promise<Shown> {
  const { stdout } = await run(['view', 'show', view, '--json', '--state-dir', join(dir, 'state')])
  return JSON.parse(stdout)
}

/** Waits until the server says for the user what both uppers really contain together. */
async function exact(all: Course, user: string): Promise<Shown['user']> {
  for (;;) {
    const found = [await show(all, `course/${user}`), await show(all, `notes/${user}`)]
    const real = found.map(({ directory }) => usageOf(join(directory, 'upper')))
    const [bytes, files] = [real[0]!.bytes + real[1]!.bytes, real[0]!.files + real[1]!.files]
    const said = found[1]!.user
    if (said.bytes === bytes && said.files === files) return said
    await pause(100)
  }
}

async function closed(all: Course, view: string): Promise<void> {
  while ((await show(all, view)).state !== 'closed') await pause(100)
}

t.test('the views of a user share a limit, exactly under writers through both doors', AS_ROOT, async (t) => {
  const all = await course(t, users('quota = "100K"\nquota_files = 30'))
  const { nfs, dav } = all
  const daemon = nfs.as(DAEMON.uid)
  const put = async (path: string, size: number) => (await dav('PUT', path, { body: 'x'.repeat(size) })).status
  const [course1, notes] = [await daemon.mount('/course/daemon'), await daemon.mount('/notes/daemon')]
  const file = (await daemon.create(course1, 'f')).handle!
  const writes = Array.from({ length: 8 }, (_, i) => daemon.write(file, i * 8 * KiB, Buffer.alloc(8 * KiB, 1), 0))
  const puts = Array.from({ length: 8 }, (_, i) => put(`/notes/~daemon/p${i}`, 8 * KiB))
  const [written, sent] = [(await Promise.all(writes)).map(({ status }) => status), await Promise.all(puts)]
  t.ok(written.includes(DQUOT) || sent.includes(507), 'they do not fit all')
  t.same(
    [...new Set([...written, ...sent])].filter((status) => ![0, DQUOT, 201, 507].includes(status)),
    [],
  )
  const full = await exact(all, 'daemon')
  t.ok(full.bytes <= 100 * KiB && full.bytes > 90 * KiB, `${full.bytes} bytes`)
  t.equal(full.hardBytes, 100 * KiB)
  t.equal((await show(all, 'notes/daemon')).quota, undefined, 'a view has no limit of its own')

  const figures = (await daemon.fsstat(notes)).numbers
  t.same([figures.fbytes, figures.ffiles], [100 * KiB - full.bytes, 30 - full.files], 'the room that the user has left')
  const found = await dav('PROPFIND', '/notes/~daemon/', {
    headers: { depth: '0' },
    body: '<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/></D:prop></D:propfind>',
  })
  t.match(found.body, `quota-available-bytes>${100 * KiB - full.bytes}<`)
  const plain = await run(['view', 'show', 'notes/daemon', '--state-dir', join(all.dir, 'state')])
  t.match(plain.stdout, new RegExp(`^all bytes: ${full.bytes}, limit 102400$`, 'm'))

  t.equal(await put('/notes/~daemon/more', 16 * KiB), 507)
  t.equal((await daemon.write(file, 90 * KiB, Buffer.alloc(16 * KiB), 2)).status, DQUOT)
  t.equal(await put('/notes/~bin/more', 90 * KiB), 201, 'another user has a limit of their own')
  t.equal((await daemon.remove(course1, 'f')).status, 0)
  t.equal(await put('/notes/~daemon/more', 16 * KiB), 201, 'what is removed in one view is free in the other')
  await exact(all, 'daemon')

  const [own] = await all.nfs
    .as(BIN.uid)
    .list(await nfs.as(BIN.uid).mount('/notes/bin'))
    .then((list) => list.filter(({ name }) => name === 'more'))
  t.ok(own)
})

t.test('views that are closed count, also after a kill, a rename and a removal', AS_ROOT, async (t) => {
  const limits = users('quota = "100K"')
  const first = await course(t, limits)
  const put = async ({ dav }: Course, path: string, size: number) =>
    (await dav('PUT', path, { body: 'x'.repeat(size) })).status
  t.equal(await put(first, '/course/~daemon/a', 60 * KiB), 201)
  await closed(first, 'course/daemon')
  t.match(await show(first, 'course/daemon'), { user: { bytes: 60 * KiB } })
  t.equal(await put(first, '/notes/~daemon/b', 41 * KiB), 507)
  t.equal(await put(first, '/notes/~daemon/b', 30 * KiB), 201)
  t.equal(await put(first, '/course/~daemon/c', 5 * KiB), 201)
  await first.server.stop('SIGKILL')

  const second = await course(t, { dir: first.dir })
  t.equal(await put(second, '/notes/~daemon/d', 0), 201)
  t.match(
    await exact(second, 'daemon'),
    { bytes: 95 * KiB, files: 4 },
    'the other view is counted again although nobody uses it',
  )
  t.equal(await put(second, '/notes/~daemon/d', 6 * KiB), 507)
  const view = (...command: string[]) => run(['view', ...command, '--state-dir', join(first.dir, 'state')])
  t.equal((await view('rename', 'course/daemon', 'bin')).status, 0)
  t.equal(await put(second, '/notes/~daemon/d', 65 * KiB), 204, 'a renamed view counts for its new user')
  t.equal(await put(second, '/course/~bin/e', 36 * KiB), 507)
  t.equal(await put(second, '/course/~bin/e', 35 * KiB), 201)
  t.equal((await view('remove', 'notes/daemon', '--yes')).status, 0)
  t.equal(await put(second, '/notes/~daemon/d', 100 * KiB), 201, 'a removed view does not count')

  const text = readFileSync(join(first.dir, 'o.toml'), 'utf8')
  writeFileSync(join(first.dir, 'o.toml'), text.replace('quota = "100K"', 'quota = "200K"'))
  const reload = await run(['reload', '--state-dir', join(first.dir, 'state')])
  t.match(reload.stdout, /users/)
  t.equal(await put(second, '/notes/~daemon/d2', 100 * KiB), 201, 'reload applies at once')
  t.equal(await put(second, '/notes/~daemon/d3', 1), 507)
})

t.test('a user may be above a soft limit for a while, also across a kill', AS_ROOT, async (t) => {
  const first = await course(t, users('quota_soft = "10K"\nquota_grace = "1m"'))
  const put = async ({ dav }: Course, path: string, size: number) =>
    (await dav('PUT', path, { body: 'x'.repeat(size) })).status
  t.equal(await put(first, '/course/~daemon/a', 8 * KiB), 201)
  t.equal(await put(first, '/notes/~daemon/b', 8 * KiB), 201)
  const warning = 'a user is above the soft limit of bytes for all views together; remove some files'
  while (!first.server.stderr().includes(warning)) await pause(50)
  t.type((await show(first, 'notes/daemon')).user.bytesAboveSinceMs, 'number')
  const files = await Promise.all(
    ['course', 'notes'].map(async (view) => join((await show(first, `${view}/daemon`)).directory, 'usage.json')),
  )
  const saved = () => files.map((file) => JSON.parse(readFileSync(file, 'utf8')))
  while (!saved().every(({ user }) => user?.bytesAboveSinceMs !== undefined)) await pause(50)
  for (const { bytes } of saved()) t.equal(bytes, 8 * KiB, 'with the change that was too much')
  await first.server.stop('SIGKILL')
  // An hour passes.
  for (const [i, usage] of saved().entries()) {
    usage.user.bytesAboveSinceMs -= 3_600_000
    writeFileSync(files[i] as string, JSON.stringify(usage))
  }
  const second = await course(t, { dir: first.dir })
  t.equal(await put(second, '/course/~daemon/c', 1), 507)
  await exact(second, 'daemon')
  t.equal((await second.dav('DELETE', '/notes/~daemon/b')).status, 204)
  t.equal(await put(second, '/course/~daemon/c', 1), 201)
})
