import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { readConfig } from '../../config/file/read-config.ts'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, BIN, type Course, configuration, course, DAEMON } from './course.ts'
import { run, start } from './launch.ts'

t.setTimeout(300_000)

const DQUOT = 69

function viewsIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => /^[0-9a-f]{16}$/.test(name))
}

/** The directory in memory of the template of this course. */
function memoryOf(dir: string): string {
  const path = join(dir, 'o.toml')
  const environment = { uid: 0, defaultStateDir: '/state' }
  const text = configuration({ kind: 'ephemeral', inDirectory: false, more: 'quota = "1M"' })
  const context = { name: 'o.toml', path, environment, overrides: new Map(), exportError: () => undefined }
  return readConfig(text, context as never).draft.views[0]?.template?.directory as string
}

async function shown({ dir }: Course, ...command: string[]) {
  const { stdout } = await run(['view', ...command, '--json', '--state-dir', join(dir, 'state')])
  return JSON.parse(stdout)
}

t.test('a view that nobody uses is deleted, and the next request makes a new one', AS_ROOT, async (t) => {
  const all = await course(t, { kind: 'ephemeral', more: 'idle = "2s"' })
  const { nfs, dav, dir } = all
  const [daemon, bin] = [nfs.as(DAEMON.uid), nfs.as(BIN.uid)]
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.create(root, 'own')).handle!
  t.equal((await daemon.write(file, 0, Buffer.from('own'))).status, STATUS.OK)
  t.equal((await dav('GET', '/course/~daemon/own')).body, 'own', 'both doors lead to the same view')
  t.equal((await dav('PROPFIND', '/course/~bin/own')).status, 404, 'and nobody else sees it')
  const other = await bin.mount('/course/bin')
  const kept = (await bin.create(other, 'kept')).handle!
  const lock =
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
  t.equal((await dav('LOCK', '/course/~daemon/own', { body: lock })).status, 200)
  t.equal(viewsIn(join(dir, 'views')).length, 2)

  while (viewsIn(join(dir, 'views')).length > 1) {
    t.equal((await bin.getattr(kept)).status, STATUS.OK, 'one that is in use stays')
    await pause(200)
  }
  t.equal((await daemon.getattr(file)).status, STATUS.STALE)
  t.equal((await daemon.getattr(root)).status, STATUS.STALE)
  const using = setInterval(() => void bin.getattr(kept), 200)
  t.teardown(() => clearInterval(using))
  t.same(
    (await shown(all, 'list')).map(({ path }: { path: string }) => path),
    ['course/bin'],
  )
  t.equal((await dav('GET', '/course/~daemon/own')).status, 404, 'a new view')
  t.equal((await dav('PUT', '/course/~daemon/own', { body: 'new' })).status, 201, 'the lock has gone with the view')
  const again = await daemon.mount('/course/daemon')
  t.notSame(again, root)
  t.equal((await daemon.getattr(root)).status, STATUS.STALE, 'an old handle does not lead to the new view')

  clearInterval(using)
  t.equal(await all.server.stop(), 0)
  t.same(viewsIn(join(dir, 'views')), [], 'the end of the server ends all')
})

t.test('a view that a command has made, and nobody has used, ends too', AS_ROOT, async (t) => {
  const all = await course(t, { kind: 'ephemeral', more: 'create = false\nidle = "5s"' })
  t.equal((await all.dav('GET', '/course/~daemon/')).status, 404)
  t.match(await shown(all, 'create', 'course/daemon'), { path: 'course/daemon' })
  t.equal((await all.dav('GET', '/course/~daemon/')).status, 200)
  const using = setInterval(() => void all.dav('GET', '/course/~daemon/'), 500)
  t.teardown(() => clearInterval(using))
  t.match(await shown(all, 'rename', 'course/daemon', 'bin'), { path: 'course/bin' })
  clearInterval(using)
  t.equal((await all.dav('GET', '/course/~bin/')).status, 200)
  while (viewsIn(join(all.dir, 'views')).length > 0) await pause(200)
  t.same(await shown(all, 'list'), [])
  t.match(await shown(all, 'create', 'course/bin'), { path: 'course/bin' })
  await shown(all, 'remove', 'course/bin', '--yes')
  while (viewsIn(join(all.dir, 'views')).length > 0) await pause(50)
})

t.test('what a killed server left is deleted in the background, and other files stay', AS_ROOT, async (t) => {
  const first = await course(t, { kind: 'ephemeral', more: '' })
  t.equal((await first.dav('PUT', '/course/~daemon/own', { body: 'own' })).status, 201)
  const root = await first.nfs.as(DAEMON.uid).mount('/course/daemon')
  const views = join(first.dir, 'views')
  const [left] = viewsIn(views)
  // Deeper than any path, with a directory that its owner cannot enter.
  let at = join(views, left as string, 'upper')
  for (let i = 0; i < 14; i++) at = join(at, 'd'.repeat(250))
  mkdirSync(at, { recursive: true })
  writeFileSync(join(at, 'f'), '')
  mkdirSync(join(views, left as string, 'upper', 'closed'), { mode: 0 })
  writeFileSync(join(views, 'notes'), 'mine')
  await first.server.stop('SIGKILL')
  t.same(viewsIn(views), [left])

  const second = await course(t, { dir: first.dir, kind: 'ephemeral' })
  t.equal((await second.nfs.as(DAEMON.uid).getattr(root)).status, STATUS.STALE)
  t.equal((await second.dav('GET', '/course/~daemon/own')).status, 404)
  while (viewsIn(views).includes(left as string)) await pause(50)
  t.ok(existsSync(join(views, 'notes')))
})

t.test('without a directory the views are in memory', AS_ROOT, async (t) => {
  const all = await course(t, { kind: 'ephemeral', inDirectory: false, more: 'quota = "100K"' })
  const memory = memoryOf(all.dir)
  t.match(memory, /^\/dev\/shm\/overlayd-0-[0-9a-f]{8}-course$/)
  t.teardown(() => rmSync(memory, { recursive: true, force: true }))
  t.equal((await all.dav('PUT', '/course/~daemon/welcome.txt', { body: 'changed' })).status, 204)
  t.equal(viewsIn(memory).length, 1)
  const daemon = all.nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.lookup(root, 'welcome.txt')).handle!
  t.equal((await daemon.read(file, 0, 20)).data.toString(), 'changed')
  t.equal((await daemon.write(file, 0, Buffer.alloc(101 * 1024))).status, DQUOT)
  t.equal((await all.dav('PUT', '/course/~daemon/large', { body: 'x'.repeat(101 * 1024) })).status, 507)
  t.equal((await daemon.rename(root, 'sub', root, 'moved')).status, STATUS.OK)
  t.equal((await daemon.lookup((await daemon.lookup(root, 'moved')).handle!, 'a.txt')).status, STATUS.OK)
  t.equal((await daemon.fsstat(root)).numbers.tbytes, 100 * 1024)
  t.match(all.server.stdout(), /serves course \(ephemeral, per-user\)/)
  t.equal(await all.server.stop(), 0)
  t.notOk(existsSync(memory), 'nothing of it is left')

  mkdirSync(memory, { mode: 0o777 })
  const text = configuration({ kind: 'ephemeral', inDirectory: false, more: 'quota = "100K"' })
  writeFileSync(
    join(all.dir, 'o.toml'),
    `${text}\n[views.plain]\nstack = "course"\n[exports.plain]\nview = "plain"\ndoor = "nfs"\n`,
  )
  const second = await start(t, ['serve', '--config', join(all.dir, 'o.toml')])
  t.match(second.stdout(), /the view course is not served: directory: \S+ belongs to another user; remove it/)
})

t.test('each machine has an ephemeral view', AS_ROOT, async (t) => {
  const all = await course(t, { kind: 'ephemeral', more: 'per = "machine"' })
  const root = await all.nfs.mount('/course/self')
  t.equal((await all.nfs.create(root, 'own')).status, STATUS.OK)
  t.match(await shown(all, 'list'), [{ path: 'course/127.0.0.1' }])
  t.equal((await all.dav('GET', '/course/own')).status, 200, 'the same over WebDAV')
  t.equal((await all.nfs.mnt('/course/daemon')).status, STATUS.NOENT)
})

t.test('the configuration of ephemeral views', async (t: Test) => {
  const check = async (text: string) => {
    const dir = t.testdir({ material: {}, 'o.toml': text })
    const { status, stderr } = await run(['config', 'check', join(dir, 'o.toml')])
    return status === 0 ? 'ok' : stderr
  }
  const text = (more: string, inDirectory = true) => configuration({ kind: 'ephemeral', inDirectory, more })
  t.equal(await check(text('')), 'ok')
  t.match(await check(text('', false)), /`views.course.quota` is missing: without `directory` the views are in memory/)
  t.equal(await check(text('quota = "1M"', false)), 'ok')
  t.match(
    await check(text('fsync = "strict"')),
    /nothing of an ephemeral view is kept, so nothing is synced; remove it/,
  )
  t.match(await check(text('read_only = true')), /cannot be combined with upper = "ephemeral"/)
  t.match(await check(text('per = "room"')), /must be "user" or "machine"/)
  const other = configuration({ more: 'per = "machine"' })
  t.match(await check(other), /`views.course.per` has an effect only with upper = "ephemeral"; remove it/)
})
