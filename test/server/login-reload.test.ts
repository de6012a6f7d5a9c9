import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { newHash } from '../../server/login/index.ts'
import { AS_ROOT, configuration, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

const LOGIN = `
[login]
sources = ["file"]
password_file = "users"
ids = ["100000-199999"]
admins = ["adam"]
audit_file = "audit"
`
const lines = (...names: string[]) =>
  names.map((name) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, name))}\n`).join('')
const as = (name: string, password = `pw-${name}`) => ({
  headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` },
})

async function running(t: Test) {
  const made = await course(t, {
    tables: LOGIN,
    prepare: (dir) => writeFileSync(join(dir, 'users'), lines('alice', 'adam'), { mode: 0o600 }),
  })
  const { dir, dav } = made
  /** Changes the file, and reads it again. */
  const reload = async (tables: string, webdav = '') => {
    writeFileSync(join(dir, 'o.toml'), configuration({ tables, webdav }))
    const { status, stdout, stderr } = await run(['reload', '--state-dir', join(dir, 'state')])
    return { status, told: stdout.trim().split('\n'), stderr }
  }
  const status = async (headers: { headers: Record<string, string> }) =>
    (await dav('GET', '/course/welcome.txt', headers)).status
  return { ...made, reload, status }
}

t.test('other accounts, roles and files apply at once; tokens stay, and so does what runs', AS_ROOT, async (t) => {
  const { dir, server, dav, reload, status } = await running(t)
  writeFileSync(
    join(dir, 'others'),
    lines('alice', 'bob').replace(/^alice:.*$/m, lines('alicia').trim().replace('alicia', 'alice')),
    { mode: 0o600 },
  )
  const json = { ...as('alice').headers, 'content-type': 'application/json' }
  const made = await dav('POST', '/-/tokens', { body: '{"name":"laptop"}', headers: json })
  const token = as('alice', (JSON.parse(made.body) as { secret: string }).secret)
  t.equal(await status(token), 200)
  const body = new PassThrough()
  body.write('begun, ')
  const upload = request(new URL('slow', server.webdavUrl), { method: 'PUT', body, ...as('alice') })
  await pause(300)

  const changed = LOGIN.replace('"users"', '"others"')
    .replace('"audit"', '"audit2"')
    .replace('admins = ["adam"]', 'readers = ["bob"]\nrealm = "class"')
  t.match(await reload(changed), { status: 0, told: ['applied: login'], stderr: '' })
  t.equal(await status(as('alice')), 401, 'the password of the earlier file')
  t.equal(await status(as('alice', 'pw-alicia')), 200)
  t.equal(await status(as('adam')), 401)
  t.equal(await status(token), 200, 'an app password stays valid')
  t.equal((await dav('PUT', '/course/x', { body: 'x', ...as('bob') })).status, 403, 'a reader')
  t.match((await dav('GET', '/course/')).headers['www-authenticate'], 'realm="class"')
  body.end('ended')
  t.equal((await upload).statusCode, 201, 'an upload that had begun goes on')
  t.match(await dav('GET', '/course/slow', token), { status: 200, body: 'begun, ended' })
  t.match(await reload(changed), { status: 0, told: ['nothing has changed'] })
  t.equal(await server.stop(), 0)
  const audit = (name: string) => readFileSync(join(dir, name), 'utf8')
  t.match(audit('audit2'), /"event":"login","user":"bob"/)
  t.notMatch(audit('audit'), /bob/)
})

t.test('a login that cannot be used leaves all as it was, and says so', AS_ROOT, async (t) => {
  const { dir, reload, status } = await running(t)
  const bad = [
    [LOGIN.replace('"users"', '"missing"'), /failed: login: .*missing cannot be read/],
    [
      LOGIN.replace('["file"]', '["fil"]'),
      /did you mean "file".*\n.*the file has errors, so server \d+ runs on unchanged/,
    ],
    [
      `${LOGIN.replace('["file"]', '["file", "ldap"]')}[ldap]\nurls = ["ldap://127.0.0.1:1"]\nbase = "dc=x"\nuser_filter = "(uid={user}"\n`,
      /filter/,
    ],
    [
      `${LOGIN.replace('["file"]', '["file", "oidc"]')}[oidc]\nissuer = "http://127.0.0.1:1"\nclient_id = "x"\nclient_secret_file = "users2"\n`,
      /users2/,
    ],
  ] as const
  writeFileSync(join(dir, 'users2'), 'secret', { mode: 0o644 })
  for (const [tables, words] of bad) {
    const { status: ended, told, stderr } = await reload(tables)
    t.equal(ended, 1, stderr)
    t.notMatch(told.join(), 'applied')
    t.match(stderr, words)
    t.equal(await status(as('alice')), 200)
  }
  t.match(await reload(LOGIN), { status: 0, told: ['nothing has changed'] })
})

t.test('what needs a restart is named, and the rest applies', AS_ROOT, async (t) => {
  const { reload, status } = await running(t)
  const more = LOGIN.replace('100000-199999', '100000-299999').replace('admins = ["adam"]', '')
  t.match(await reload(more), { status: 0, told: ['applied: login', 'needs a restart: login.ids'] })
  t.match(await reload(LOGIN), { told: ['applied: login'] })
  t.match(await reload(''), { status: 0, told: ['needs a restart: login'] })
  t.equal(await status(as('alice')), 200, 'the login goes on')
})

t.test('proxies and directories come and go', AS_ROOT, async (t) => {
  const { reload, status, dav } = await running(t)
  const carol = { headers: { 'x-remote-user': 'carol' } }
  t.equal(await status(carol), 401)
  const trusted = 'trusted_proxies = ["127.0.0.1"]'
  const proxy = LOGIN.replace('["file"]', '["file", "proxy"]')
  t.match(await reload(proxy, trusted), { told: ['applied: login, webdav.trusted_proxies'] })
  t.equal(await status(carol), 200)
  t.match(await reload(proxy, 'trusted_proxies = ["192.0.2.1"]'), { told: ['applied: webdav.trusted_proxies'] })
  t.equal(await status(carol), 401)
  const ldap = `${LOGIN.replace('["file"]', '["file", "ldap"]')}[ldap]\nurls = ["ldap://127.0.0.1:1"]\nbase = "dc=x"\n`
  t.match(await reload(ldap), { told: ['applied: login, webdav.trusted_proxies'] })
  t.equal(await status(as('alice')), 200)
  t.match(await dav('GET', '/course/', as('dora')), { status: 503 }, 'the directory is asked')
  t.match(await reload(LOGIN), { told: ['applied: login'] })
  t.equal(await status(as('dora')), 401)
})
