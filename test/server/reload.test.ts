import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { configuration } from './course.ts'
import { run, start } from './launch.ts'

t.setTimeout(300_000)

const TEXT = configuration({
  kind: 'shared',
  material: 'one',
  inDirectory: false,
  more: 'directory = "views/course"',
  clients: '127.0.0.1(rw,no_root_squash,insecure)',
  webdav: process.geteuid?.() === 0 ? 'as = "root"' : '',
  tables: '[layers.two]\npath = "two"\n[log]\nlevel = "warn"',
})

t.test(
  'a file that is read again changes layers and log under live clients, and names what needs a restart',
  async (t) => {
    const dir = t.testdir({
      one: { version: '1', stays: 'stays' },
      two: { version: '2', stays: 'other' },
      'o.toml': TEXT,
    })
    const file = join(dir, 'o.toml')
    const state = ['--state-dir', join(dir, 'state')]
    const server = await start(t, ['serve', '--config', file])
    const get = async (path: string) => (await request(new URL(path, server.webdavUrl))).body.text()
    const nfs = await NfsClient.connect(server.nfsPort as number)
    t.teardown(() => nfs.close())
    const root = await nfs.mount('/course')
    const own = await nfs.create(root, 'own', { mode: 'unchecked', attr: {} })
    t.equal(own.status, STATUS.OK)
    t.equal(await get('version'), '1')

    writeFileSync(file, TEXT.replace('layers = ["material"]', 'layers = ["too"]').replace('"warn"', '"loud"'))
    const refused = await run(['reload', ...state])
    t.equal(refused.status, 1)
    t.match(
      refused.stderr,
      /o\.toml:5:10: there is no layer "too"; did you mean two\?\n\S+o\.toml:\d+:9: `log\.level` must be/,
    )
    t.match(refused.stderr, /the file has errors, so server \d+ runs on unchanged\n$/)
    t.equal(await get('version'), '1', 'nothing has changed')

    const changed = TEXT.replace('layers = ["material"]', 'layers = ["two", "material"]')
      .replace('"warn"', '"debug"')
      .replace('[nfs]\n', '[nfs]\nlock_grace = 5\n')
    writeFileSync(file, `${changed}[views.more]\nstack = "course"\n[exports.more]\nview = "more"\ndoor = "nfs"\n`)
    const applied = await run(['reload', ...state])
    t.equal(applied.stderr, '')
    t.equal(applied.status, 0)
    t.same(applied.stdout.trim().split('\n').sort(), [
      'applied: log.level = "debug"',
      'applied: views.course',
      'applied: views.more (new)',
      'needs a restart: nfs.lock_grace',
    ])
    t.equal(await get('version'), '2')
    t.equal((await nfs.getattr(await nfs.walk(root, 'own'))).status, STATUS.OK, 'the client goes on with its handles')
    t.equal((await nfs.read(await nfs.walk(root, 'version'), 0, 10)).data.toString(), '2')
    t.equal((await run(['reload', ...state])).stdout, 'needs a restart: nfs.lock_grace\n')

    writeFileSync(file, TEXT)
    const told = () => server.stderr().split('read again').length
    const before = told()
    server.child.kill('SIGHUP')
    while (told() === before) await new Promise((resolve) => server.child.stderr?.once('data', resolve))
    t.equal(await get('version'), '1', 'SIGHUP does the same')
    t.equal(await server.stop(), 0)
    t.equal(readFileSync(join(dir, 'views/course/upper/own'), 'utf8'), '')
    const gone = await run(['reload', ...state])
    t.equal(gone.status, 1)
    t.match(gone.stderr, /no server of a configuration file runs/)
  },
)

t.test('new views, templates and exports apply at once, under live clients', async (t) => {
  const dir = t.testdir({ one: { version: '1' }, two: { version: '2' }, 'o.toml': TEXT })
  const file = join(dir, 'o.toml')
  const server = await start(t, ['serve', '--config', file])
  const reload = async (text: string) => {
    writeFileSync(file, text)
    const { status, stdout, stderr } = await run(['reload', '--state-dir', join(dir, 'state')])
    t.equal(status, 0, stderr)
    return stdout.trim().split('\n').sort()
  }
  const get = async (path: string) =>
    (await request(new URL(path, new URL(server.webdavUrl as string).origin))).statusCode
  const nfs = await NfsClient.connect(server.nfsPort as number)
  t.teardown(() => nfs.close())
  const root = await nfs.mount('/course')

  const more =
    '[views.more]\nstack = "course"\nupper = "shared"\ndirectory = "views/more"\n[exports.more-web]\nview = "more"\ndoor = "webdav"\n'
  const users =
    '[views.users]\nstack = "course"\nupper = "per-user"\ndirectory = "views/users"\ncreate = true\n' +
    (process.geteuid?.() === 0 ? 'owner = "0:0"\n' : '') +
    '[exports.users]\nview = "users"\ndoor = "nfs"\nclients = ["127.0.0.1(rw,no_root_squash,insecure)"]\n'
  t.same(await reload(TEXT + more + users), ['applied: views.more (new)', 'applied: views.users (new)'])
  t.equal(await get('/more/version'), 200)
  t.equal((await nfs.mnt('/more')).status, STATUS.NOENT, 'it is exported over WebDAV only')
  const own = await nfs.mount('/users/alice')
  t.equal((await nfs.create(own, 'f')).status, STATUS.OK)
  t.equal((await run(['view', 'show', 'users/alice', '--state-dir', join(dir, 'state')])).status, 0)

  const exported = more.replace('door = "webdav"', 'door = "nfs"\nclients = ["127.0.0.1(ro,no_root_squash,insecure)"]')
  t.same(await reload(TEXT + exported + users), ['applied: exports of more'])
  t.equal(await get('/more/version'), 404)
  const readOnly = await nfs.mount('/more')
  t.equal((await nfs.create(readOnly, 'f')).status, STATUS.ROFS)
  t.same(await reload(TEXT + exported.replace('(ro,', '(rw,') + users), ['applied: exports of more'])
  t.equal((await nfs.create(readOnly, 'f')).status, STATUS.OK, 'the same handle, with the new rule')
  t.same(await reload(TEXT + exported.replace('(ro,', '(rw,') + users.replace('create = true', 'idle = "5m"')), [
    'applied: views.users',
  ])
  t.equal((await nfs.mnt('/users/bob')).status, STATUS.NOENT, 'the template makes no views any more')

  const text = TEXT.replace('layers = ["material"]', 'layers = ["two"]')
  t.same(await reload(text + users), ['applied: views.course', 'applied: views.more (removed)', 'applied: views.users'])
  t.equal((await nfs.getattr(readOnly)).status, STATUS.STALE)
  const version = await nfs.walk(own, 'version')
  t.equal((await nfs.read(version, 0, 9)).data.toString(), '2', 'open views of a template get the new stack')
  t.equal((await nfs.getattr(root)).status, STATUS.OK, 'the client of the first view goes on')

  t.same(await reload(TEXT + more), [
    'applied: views.course',
    'applied: views.more (new)',
    'applied: views.users (removed)',
  ])
  t.equal((await nfs.getattr(own)).status, STATUS.STALE)
  t.equal(await get('/more/f'), 200, 'a view that comes back has its upper')
  const moved = more.replace('views/more', 'views/elsewhere')
  t.same(await reload(TEXT + moved), ['needs a restart: views.more (its upper)'])
  t.equal(await server.stop(), 0)
})
