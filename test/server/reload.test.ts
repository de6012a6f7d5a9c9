import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { run, start } from './launch.ts'

t.setTimeout(300_000)

const TEXT = `
[layers.one]
path = "one"
[layers.two]
path = "two"
[stacks.course]
layers = ["one"]
[views.course]
stack = "course"
upper = "shared"
directory = "views/course"
[exports.nfs]
view = "course"
door = "nfs"
clients = ["127.0.0.1(rw,no_root_squash,insecure)"]
[exports.web]
view = "course"
door = "webdav"
[webdav]
listen = "127.0.0.1:0"
${process.geteuid?.() === 0 ? 'as = "root"' : ''}
[nfs]
listen = "127.0.0.1:0"
[server]
state_dir = "state"
[log]
level = "warn"
`

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

    writeFileSync(file, TEXT.replace('layers = ["one"]', 'layers = ["too"]').replace('"warn"', '"loud"'))
    const refused = await run(['reload', ...state])
    t.equal(refused.status, 1)
    t.match(
      refused.stderr,
      /o\.toml:7:10: there is no layer "too"; did you mean two\?\n\S+o\.toml:\d+:9: `log\.level` must be/,
    )
    t.match(refused.stderr, /the file has errors, so server \d+ runs on unchanged\n$/)
    t.equal(await get('version'), '1', 'nothing has changed')

    const changed = TEXT.replace('layers = ["one"]', 'layers = ["two", "one"]')
      .replace('"warn"', '"debug"')
      .replace('[nfs]\n', '[nfs]\nlock_grace = 5\n')
    writeFileSync(file, `${changed}[views.more]\nstack = "course"\n[exports.more]\nview = "more"\ndoor = "nfs"\n`)
    const applied = await run(['reload', ...state])
    t.equal(applied.stderr, '')
    t.equal(applied.status, 0)
    t.same(applied.stdout.trim().split('\n').sort(), [
      'applied: log.level = "debug"',
      'applied: views.course',
      'needs a restart: nfs.lock_grace',
      'needs a restart: views.more (new)',
    ])
    t.equal(await get('version'), '2')
    t.equal((await nfs.getattr(await nfs.walk(root, 'own'))).status, STATUS.OK, 'the client goes on with its handles')
    t.equal((await nfs.read(await nfs.walk(root, 'version'), 0, 10)).data.toString(), '2')
    t.match((await run(['reload', ...state])).stdout, /^needs a restart: nfs\.lock_grace\nneeds a restart: views\.more/)

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
