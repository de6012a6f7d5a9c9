import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { readEnvironment } from '../../config/index.ts'
import { loadConfig } from '../../server/config-file.ts'
import { NfsClient } from '../helpers/nfs-client.ts'
import { run, start } from './launch.ts'

t.setTimeout(600_000)

const ROOT = process.geteuid?.() === 0

/** What every file here has: no fixed port, and WebDAV that may do what the server may. */
const SERVER = `
[webdav]
listen = "127.0.0.1:0"
${ROOT ? 'as = "root"' : ''}
[nfs]
listen = "127.0.0.1:0"
[server]
state_dir = "state"
`

const COURSE = `
[layers.material]
path = "material"
[layers.fixes]
path = "fixes"
[stacks.course]
layers = ["fixes", "material"]
[views.course]
stack = "course"
upper = "shared"
directory = "views/course"
[views.original]
stack = "course"
[exports.all]
view = "course"
door = "nfs"
clients = ["127.0.0.1(rw,no_root_squash,insecure)"]
[exports.web]
view = "course"
door = "webdav"
[exports.original]
view = "original"
door = "webdav"
`

/** A directory with layers and a configuration file of this text. */
function course(t: Test, text: string) {
  const dir = t.testdir({
    material: { 'a.txt': 'material', 'b.txt': 'b' },
    fixes: { 'a.txt': 'fixed' },
    'overlayd.toml': text,
  })
  return { dir, file: join(dir, 'overlayd.toml') }
}

async function get(url: string, path: string): Promise<string> {
  const answer = await request(new URL(path, url))
  const text = await answer.body.text()
  return answer.statusCode === 200 ? text : String(answer.statusCode)
}

t.test('a file of views is served: each by the doors that its exports say', async (t) => {
  const { dir, file } = course(t, COURSE + SERVER)
  const server = await start(t, ['serve', '--config', file, '--ready-file', join(dir, 'ready')])
  const { webdav } = JSON.parse(readFileSync(join(dir, 'ready'), 'utf8')) as { webdav: string }
  t.match(webdav, /\/course\/$/)
  t.equal(await get(webdav, 'a.txt'), 'fixed')
  t.equal(await get(webdav, '/original/b.txt'), 'b')
  const put = await request(new URL('new.txt', webdav), { method: 'PUT', body: 'new' })
  t.equal(put.statusCode, 201)
  t.equal(readFileSync(join(dir, 'views/course/upper/new.txt'), 'utf8'), 'new')
  t.equal(await get(webdav, '/original/new.txt'), '404', 'the other view has the stack without the upper')
  const refused = await request(new URL('/original/x', webdav), { method: 'PUT', body: 'x' })
  t.ok(refused.statusCode >= 400, 'and is read-only')
  const nfs = await NfsClient.connect(server.nfsPort as number)
  t.teardown(() => nfs.close())
  const root = await nfs.mount('/course')
  t.equal((await nfs.read(await nfs.walk(root, 'new.txt'), 0, 100)).data.toString(), 'new')
  t.not((await nfs.mnt('/original')).status, 0, 'which is not exported over NFS')
  t.match(server.stdout(), /mount -t davfs \S+\/original\/ /)
  t.notMatch(server.stdout(), /:\/original \/mnt/)
  t.equal(await server.stop(), 0)
})

t.test('a new upper has the mode and owner of the topmost layer, or the owner that the file says', async (t) => {
  const owner = ROOT ? '1234:1235' : `${process.getuid?.()}:${process.getgid?.()}`
  const more = `[views.owned]\nstack = "course"\nupper = "shared"\ndirectory = "views/owned"\nowner = "${owner}"\n`
  const { dir, file } = course(t, COURSE.replace(/\[exports[\s\S]*/, '') + more + SERVER)
  const server = await start(t, ['serve', '--config', file])
  const upper = statSync(join(dir, 'views/course/upper'))
  const layer = statSync(join(dir, 'fixes'))
  t.same([upper.mode, upper.uid, upper.gid], [layer.mode, layer.uid, layer.gid])
  const owned = statSync(join(dir, 'views/owned/upper'))
  t.equal(`${owned.uid}:${owned.gid}`, owner)
  t.equal(statSync(join(dir, 'views/course')).mode & 0o777, 0o700)
  t.equal(await server.stop(), 0)
})

t.test('a view whose layer is missing costs itself alone', async (t) => {
  const gone = '[layers.gone]\npath = "gone"\n[stacks.gone]\nlayers = ["gone"]\n[views.gone]\nstack = "gone"\n'
  const { dir, file } = course(t, COURSE.replace(/\[exports[\s\S]*/, '') + gone + SERVER)
  const checked = await run(['config', 'check', file])
  t.equal(checked.status, 1)
  t.match(checked.stderr, /overlayd\.toml:\d+:8: there is no directory \S+\/gone; make it, or mend the path\n$/)
  const server = await start(t, ['serve', '--config', file])
  t.equal(await get(server.webdavUrl as string, '/course/a.txt'), 'fixed')
  t.equal(await get(server.webdavUrl as string, '/gone/'), '404')
  t.match(server.stdout(), /Warning: the view gone is not served: .*there is no directory/)
  t.equal(await server.stop(), 0)
  t.notOk(existsSync(join(dir, 'gone')))
})

t.test('a file with errors is not served: all of them are printed, and nothing is made', async (t) => {
  const { dir, file } = course(t, `${COURSE}quota = "1G"\n${SERVER}[log]\nlevel = "loud"\n`)
  for (const words of [
    ['serve', '--config', file],
    ['config', 'check', file],
  ]) {
    const { status, stderr, stdout } = await run(words)
    t.equal(status, words[0] === 'serve' ? 2 : 1)
    t.match(
      stderr,
      /^\S+:\d+:1: unknown key `quota`; it belongs in \[views\.NAME\] or \[users\]\n\S+:\d+:9: `log\.level` must be .*\n$/,
    )
    t.equal(stdout, '')
  }
  t.same(readdirSync(dir).sort(), ['fixes', 'material', 'overlayd.toml'])
})

t.test('what only the disk can tell is checked: uppers in layers, the file and the state in a layer', async (t) => {
  const { dir, file } = course(
    t,
    `${COURSE.replace('"views/course"', '"material/views"').replace('path = "fixes"', 'path = "."')}${SERVER}`,
  )
  const { status, stderr } = await run(['config', 'check', file])
  t.equal(status, 1)
  const told = stderr
    .trim()
    .split('\n')
    .map((line) => line.replace(`${file}:`, '').replaceAll(dir, 'DIR'))
  t.same(
    told.filter((line) => line.startsWith('5:')),
    [
      "5:8: 'DIR/state' (the state directory) is inside the lowerdir 'DIR', so clients could read its keys; choose a directory outside all layers",
      "5:8: 'DIR/overlayd.toml' (the configuration file) is inside the lowerdir 'DIR', so clients could read it; move it out of all layers",
    ],
    stderr,
  )
  t.ok(told.includes('11:13: DIR/material/views/upper is inside the layer DIR/material; choose a directory outside it'))
  t.ok(told.includes('11:13: DIR/material/views/upper is inside the layer DIR; choose a directory outside it'))
})

t.test('a file that is none is refused in one line', async (t) => {
  const { dir, file } = course(t, COURSE + SERVER)
  writeFileSync(join(dir, 'latin1'), Buffer.from([0xe4, 0x0a]))
  mkdirSync(join(dir, 'dir'))
  writeFileSync(join(dir, 'large'), Buffer.alloc(2 ** 20 + 1))
  const cases = { none: /does not exist/, latin1: /not text in UTF-8/, dir: /is not a file/, large: /is larger than/ }
  for (const [name, message] of Object.entries(cases)) {
    const config = { name, path: join(dir, name), overrides: new Map(), environment: readEnvironment() }
    await t.rejects(loadConfig(config), { option: '--config', message })
  }
  const { status, stderr } = await run(['config', 'check', 'none'], { cwd: dir })
  t.equal(status, 1)
  t.equal(stderr, 'overlayd: --config: none does not exist; overlayd init DIR writes a first one\n')
  const printed = await run(['config', 'print', '--config', file, '--json', '--nfs', 'off'])
  t.equal(printed.status, 0)
  const values = JSON.parse(printed.stdout) as { key: string; value: unknown; from: unknown }[]
  t.match(
    values.find(({ key }) => key === 'nfs.listen'),
    { value: 'off', from: { kind: 'command line', option: '--nfs' } },
  )
})

t.test('two servers do not serve one file, and a wrong port is told by the words of the file', async (t) => {
  const { file } = course(t, COURSE + SERVER)
  const server = await start(t, ['serve', '--config', file])
  const second = await run(['serve', '--config', file])
  t.equal(second.status, 2)
  t.match(second.stderr, /process \d+ already serves this file; use overlayd reload/)
  const port = new URL(server.webdavUrl as string).port
  const other = course(t, COURSE + SERVER.replace('"127.0.0.1:0"', `"127.0.0.1:${port}"`))
  const busy = await run(['serve', '--config', other.file])
  t.equal(busy.status, 2)
  t.match(busy.stderr, /overlayd\.toml:\d+:1: `webdav\.listen`: 127\.0\.0\.1:\d+ is in use; /)
  t.equal(await server.stop(), 0)
})
