import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { tmpfs } from '../helpers/tmpfs.ts'
import { AS_ROOT, BIN, configuration, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

/** The statuses of mountstat3 that are not among those of NFS. */
const MNT_SERVERFAULT = 10006

t.test('names that no user can have make no view', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t, { more: 'create = true\nowner = "1:1"' })
  for (const name of ['..', '...', 'a\u0001', 'x'.repeat(300), '-rf', 'jose\u0301', '~daemon', '.'])
    t.not((await nfs.mnt(`/course/~/${name}`)).status, STATUS.OK, JSON.stringify(name.slice(0, 9)))
  for (const name of ['a%01', 'x'.repeat(300), '-rf', 'jose%CC%81', '~daemon', '%ff', 'a%5cb', 'a%00', 'a%2fb'])
    t.match((await dav('GET', `/course/~${name}/`)).status.toString(), /^40[04]$/, name.slice(0, 9))
  t.same(readdirSync(join(dir, 'views')), ['views.log'])
  t.equal((await dav('GET', '/course/~daemon/')).status, 200)
})

t.test('a view whose upper is gone costs that view only', AS_ROOT, async (t) => {
  const first = await course(t)
  for (const user of ['daemon', 'bin']) await first.dav('PUT', `/course/~${user}/own`, { body: user })
  await first.nfs.as(DAEMON.uid).mount('/course/daemon')
  await first.server.stop()
  const state = join(first.dir, 'state')
  const show = async (text = '--json') => run(['view', 'show', 'course/daemon', text, '--state-dir', state])
  const second = await course(t, { dir: first.dir })
  const { directory } = JSON.parse((await show()).stdout)
  renameSync(join(directory, 'upper'), join(directory, 'aside'))
  const { dav, nfs, server } = second
  t.equal((await dav('GET', '/course/~daemon/own')).status, 500)
  t.equal((await nfs.as(DAEMON.uid).mnt('/course/daemon')).status, STATUS.IO)
  t.notOk(existsSync(join(directory, 'upper')), 'no empty upper takes its place')
  t.match(
    server.stderr(),
    /the view course\/daemon cannot be opened: its upper \S+ is gone; put it back, or remove the view/,
  )
  t.match(JSON.parse((await show()).stdout), { state: 'failed', failure: /is gone; put it back/ })
  t.match(await dav('GET', '/course/~bin/own'), { status: 200, body: 'bin' })
  t.match(await dav('GET', '/course/~daemon/own'), { status: 500 }, 'again')
  renameSync(join(directory, 'aside'), join(directory, 'upper'))
  let answer = await dav('GET', '/course/~daemon/own')
  while (answer.status === 500) answer = await dav('GET', '/course/~daemon/own')
  t.match(answer, { status: 200, body: 'daemon' }, 'once it is back, its view is too')
})

t.test('a template whose layer is missing is left out, and its views come back with the layer', AS_ROOT, async (t) => {
  const other =
    '[layers.more]\npath = "more"\n[stacks.more]\nlayers = ["more"]\n[views.more]\nstack = "more"\nupper = "per-user"\ndirectory = "others"\ncreate = true\nidle = "1s"\n[exports.more]\nview = "more"\ndoor = "webdav"\n'
  const prepare = (dir: string) => mkdirSync(join(dir, 'more'), { mode: 0o777 })
  const first = await course(t, { tables: other, prepare })
  t.equal((await first.dav('PUT', '/more/~daemon/own', { body: 'own' })).status, 201)
  await first.server.stop()
  renameSync(join(first.dir, 'more'), join(first.dir, 'aside'))

  const second = await course(t, { dir: first.dir })
  t.match(second.server.stdout(), /the view more is not served: \S+: there is no directory \S+\/more; make it/)
  t.equal((await second.dav('GET', '/more/~daemon/own')).status, 404)
  t.equal((await second.dav('GET', '/course/~daemon/welcome.txt')).status, 200, 'the other template is served')
  renameSync(join(first.dir, 'aside'), join(first.dir, 'more'))
  t.match((await run(['reload', '--state-dir', join(first.dir, 'state')])).stdout, /views\.more/)
  t.match(await second.dav('GET', '/more/~daemon/own'), { status: 200, body: 'own' }, 'nothing is lost')
})

t.test('a full disk refuses new views, and leaves the others alone', AS_ROOT, async (t) => {
  const disk = tmpfs(t)
  const dir = t.testdir({ material: { 'welcome.txt': 'welcome' }, 'o.toml': configuration({}) })
  execFileSync('mount', ['-o', 'remount,size=4m', disk])
  symlinkSync(disk, join(dir, 'views'))
  const { dav, nfs, server } = await course(t, { dir })
  t.equal((await dav('PUT', '/course/~daemon/own', { body: 'own' })).status, 201)
  const bin = nfs.as(BIN.uid)
  let room = 4 << 20
  for (let i = 0; room >= 1; i++) {
    try {
      writeFileSync(join(disk, `fill${i}`), Buffer.alloc(room))
    } catch {
      room = Math.floor(room / 2)
    }
  }
  t.equal((await dav('GET', '/course/~bin/welcome.txt')).status, 507)
  t.equal((await bin.mnt('/course/bin')).status, MNT_SERVERFAULT)
  t.match(server.stderr(), /the view course\/bin cannot be made/)
  t.match(
    (await run(['view', 'create', 'course/bin', '--state-dir', join(dir, 'state')])).stderr,
    /course\/bin cannot be made: no space in \S+; free some/,
  )
  t.match(await dav('GET', '/course/~daemon/own'), { status: 200, body: 'own' })
  for (const name of readdirSync(disk).filter((each) => each.startsWith('fill'))) rmSync(join(disk, name))
  t.equal(readdirSync(disk).filter((name) => /^[0-9a-f]{16}$/.test(name)).length, 1, 'nothing half-made is left')
  t.match(await dav('GET', '/course/~bin/welcome.txt'), { status: 200, body: 'welcome' })
})

t.test('two templates cannot share a directory, or have one inside the other', AS_ROOT, async (t) => {
  const other = (upper: string, directory: string) =>
    `[views.other]\nstack = "course"\nupper = "${upper}"\ndirectory = "${directory}"\n[exports.other]\nview = "other"\ndoor = "nfs"\n`
  const check = async (upper: string, directory: string) => {
    const dir = t.testdir({ material: {}, 'o.toml': configuration({ tables: other(upper, directory) }) })
    mkdirSync(join(dir, 'views'))
    symlinkSync('views', join(dir, 'link'))
    return await run(['config', 'check', join(dir, 'o.toml')])
  }
  for (const upper of ['per-user', 'per-machine', 'shared'])
    t.match(
      (await check(upper, 'views')).stderr,
      /the views "course" and "other" cannot share \S+; give each its own/,
      upper,
    )
  t.match(
    (await check('per-user', 'views/more')).stderr,
    /is inside the upper or work directory \S+; choose a directory/,
  )
  t.match(
    (await check('per-user', 'link/more')).stderr,
    /is inside the upper or work directory \S+; choose a directory/,
  )
  t.match((await check('per-user', 'material/views')).stderr, /is inside the layer \S+; choose a directory outside it/)
  t.equal((await check('per-user', 'other')).status, 0)
})

t.test('a second server of the same directory serves everything else', AS_ROOT, async (t) => {
  const { dir } = await course(t)
  const shared = '[views.shared]\nstack = "course"\n[exports.shared]\nview = "shared"\ndoor = "webdav"\n'
  const text = configuration({ tables: shared }).replace('state_dir = "state"', 'state_dir = "other-state"')
  writeFileSync(join(dir, 'other.toml'), text)
  const { start } = await import('./launch.ts')
  const second = await start(t, ['serve', '--config', join(dir, 'other.toml')])
  t.match(second.stdout(), /the view course is not served: directory: another server uses \S+\/views/)
  t.match(second.stdout(), /serves shared \(read-only\)/)
})

t.test('keys of templates are refused where they have no effect', AS_ROOT, async (t) => {
  const check = async (text: string) => {
    const dir = t.testdir({ material: {}, 'o.toml': text })
    return (await run(['config', 'check', join(dir, 'o.toml')])).stderr
  }
  const text = configuration({ more: 'create = true\nidle = "5m"' })
  t.match(
    await check(text.replace('"per-user"', '"shared"')),
    /`views.course.idle` has an effect only with upper = "per-user"/,
  )
  t.match(await check(text.replace('directory = "views"', '')), /`views.course.directory` is missing/)
  t.match(await check(text.replace('"5m"', '"5 minutes"')), /is not a time from 1s to 24h; use for example "60s"/)
  const proxied = 'public_urls = ["https://files.example.org"]'
  const machines = configuration({ kind: 'per-machine', webdav: proxied })
  t.match(await check(machines), /hides which machine they are; add webdav.trusted_proxies/)
  const trusted = configuration({ kind: 'per-machine', webdav: `${proxied}\ntrusted_proxies = ["10.0.0.1"]` })
  t.equal(await check(trusted), '')
  t.match(await check(text.replace('create = true', 'read_only = true')), /cannot be combined with upper = "per-user"/)
})

t.test('one address makes a hundred views at once, and then some a minute', AS_ROOT, async (t) => {
  const { nfs, server } = await course(t, { more: 'create = true\nowner = "1:1"' })
  const statuses = []
  for (let i = 0; i < 130; i++) statuses.push((await nfs.mnt(`/course/user${i}`)).status)
  t.same(statuses.slice(0, 100), Array(100).fill(STATUS.OK))
  t.ok(statuses.filter((status) => status === MNT_SERVERFAULT).length > 0)
  t.match(server.stderr(), /a view was not made: there are too many, or this client makes too many/)
  t.equal((await nfs.mnt('/course/user0')).status, STATUS.OK, 'those that exist are mounted as ever')
})

t.test(
  'quotas of a file system that has none for projects are refused, at the start and by config check',
  AS_ROOT,
  async (t) => {
    const memory = tmpfs(t)
    const own = `[views.own]\nstack = "course"\nupper = "per-user"\ndirectory = "${memory}/views"\nquota = "1M"\nquota_by = "filesystem"\n[exports.own]\nview = "own"\ndoor = "nfs"\n`
    const all = await course(t, { tables: own })
    const wrong = `quota_by = "filesystem": the file system of ${memory}/views does not limit projects; mount it with prjquota (ext4 needs the features quota and project), or remove quota_by`
    t.match(all.server.stdout() + all.server.stderr(), wrong)
    t.match(await all.dav('GET', '/course/~daemon/welcome.txt'), { status: 200 }, 'other views are served')
    const checked = await run(['config', 'check', join(all.dir, 'o.toml')])
    t.equal(checked.status, 1)
    t.match(checked.stdout + checked.stderr, wrong)
  },
)
