import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { newHash } from '../../server/login/index.ts'
import { AS_ROOT, type Course, configuration, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

const LOGIN = `
[login]
sources = ["file"]
password_file = "users"
ids = ["100000-199999"]
admins = ["adam"]
readers = ["rita"]
audit_file = "audit"
`
const USERS = ['alice', 'bob', 'teacher', 'adam', 'rita']

/** The lines of a password file in which the password of each user is `pw-NAME`. */
function passwordLines(names: readonly string[]): string {
  return names.map((name) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, name))}\n`).join('')
}

/** A course whose users log in. */
async function classroom(
  t: Parameters<typeof course>[0],
  tables = LOGIN,
  webdav = '',
): Promise<Course & { as: (name: string, password?: string) => { headers: Record<string, string> } }> {
  const prepare = (dir: string) => {
    writeFileSync(join(dir, 'users'), passwordLines(USERS), { mode: 0o600 })
    symlinkSync('/welcome.txt', join(dir, 'material/sub/out'))
  }
  const made = await course(t, { more: 'create = true\nowners = ["teacher"]', tables, webdav, prepare })
  const as = (name: string, password = `pw-${name}`) => ({
    headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` },
  })
  return { ...made, as }
}

t.test('every method asks for a name and a password, also those by which clients probe', AS_ROOT, async (t) => {
  const { dav } = await classroom(t)
  for (const method of ['OPTIONS', 'PROPFIND', 'GET', 'HEAD', 'PUT', 'LOCK', 'MKCOL', 'DELETE', 'REPORT', 'POST']) {
    for (const path of ['/', '/course/welcome.txt', '/nothing/', '/-/tokens', '/-/x', '/-/../course/']) {
      const answer = await dav(method, path)
      t.match(answer, { status: 401, headers: { 'www-authenticate': 'Basic realm="overlayd", charset="UTF-8"' } })
    }
  }
})

t.test('the view of a template is that of the user who asks', AS_ROOT, async (t) => {
  const { dav, as } = await classroom(t)
  t.match(await dav('PUT', '/course/mine', { body: 'of alice', ...as('alice') }), { status: 201 })
  t.match(await dav('GET', '/course/mine', as('alice')), { status: 200, body: 'of alice' })
  t.match(await dav('GET', '/course/mine', as('bob')), { status: 404 })
  t.match(await dav('GET', '/course/~alice/mine', as('alice')), { status: 200 })
  t.match(await dav('GET', '/course/~alice/mine', as('bob')), { status: 404 }, 'not the view of another')
  t.match(await dav('GET', '/course/welcome.txt', as('bob')), { status: 200, body: 'welcome' })
  for (const name of ['teacher', 'adam'])
    t.match(await dav('GET', '/course/~alice/mine', as(name)), { status: 200, body: 'of alice' }, name)
})

t.test('a reader changes nothing', AS_ROOT, async (t) => {
  const { dav, as } = await classroom(t)
  t.match(await dav('GET', '/course/welcome.txt', as('rita')), { status: 200 })
  for (const method of ['PUT', 'DELETE', 'LOCK', 'MKCOL', 'PROPPATCH', 'POST', 'MOVE'])
    t.match(await dav(method, '/course/new', as('rita')), { status: 403 }, method)
})

t.test(
  'a wrong password and an unknown name are refused alike, and no name that is none is written down',
  AS_ROOT,
  async (t) => {
    const { dav, as, dir, server } = await classroom(t)
    const wrong = await dav('GET', '/course/', as('alice', 'secret-word'))
    const unknown = await dav('GET', '/course/', as('my-password', 'x'))
    t.equal(wrong.status, 401)
    t.equal(unknown.status, 401)
    t.equal(wrong.body, unknown.body)
    t.same(wrong.headers['www-authenticate'], unknown.headers['www-authenticate'])
    await dav('GET', '/course/', as('alice'))
    await server.stop()
    const audit = readFileSync(join(dir, 'audit'), 'utf8')
    const events = audit
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.match(events, [
      { event: 'login refused', user: 'alice', client: '127.0.0.1', reason: 'wrong' },
      { event: 'login refused', client: '127.0.0.1', reason: 'unknown' },
      { event: 'login', user: 'alice', proof: 'password' },
    ])
    for (const text of [audit, server.stderr()]) t.notMatch(text, /secret-word|my-password|pw-alice/)
  },
)

t.test('an app password opens its part of the view, until it is revoked', AS_ROOT, async (t) => {
  const { dav, as, dir } = await classroom(t)
  const json = { 'content-type': 'application/json' }
  const make = async (wish: object, name = 'alice') => {
    const { headers } = as(name)
    const answer = await dav('POST', '/-/tokens', { body: JSON.stringify(wish), headers: { ...headers, ...json } })
    t.equal(answer.status, 201, answer.body)
    t.equal(answer.headers['cache-control'], 'no-store')
    return JSON.parse(answer.body) as { id: string; secret: string }
  }
  await dav('PUT', '/course/mine', { body: 'of alice', ...as('alice') })
  await dav('PUT', '/course/sub/inside', { body: 'inside', ...as('alice') })
  const whole = as('alice', (await make({ name: 'laptop' })).secret)
  t.match(await dav('GET', '/course/mine', whole), { status: 200, body: 'of alice' })
  t.match(await dav('PUT', '/course/more', { body: 'x', ...whole }), { status: 201 })
  t.match(
    await dav('GET', '/course/mine', as('bob', (await make({ name: 'x' })).secret)),
    { status: 401 },
    'of another',
  )

  const reading = as('alice', (await make({ name: 'phone', mode: 'read' })).secret)
  t.match(await dav('GET', '/course/mine', reading), { status: 200 })
  t.match(await dav('DELETE', '/course/mine', reading), { status: 403 })

  const { id, secret } = await make({ name: 'sub only', view: 'course', path: 'sub' })
  const part = as('alice', secret)
  t.match(await dav('GET', '/course/sub/inside', part), { status: 200, body: 'inside' })
  t.match(await dav('PUT', '/course/sub/new', { body: 'x', ...part }), { status: 201 })
  for (const path of ['/course/mine', '/course/', '/course/~alice/mine', '/course/~bob/sub/x'])
    t.match(await dav('GET', path, part), { status: 404 }, path)
  t.match(await dav('GET', '/course/sub/out', as('alice')), { status: 200, body: 'welcome' })
  t.match(await dav('GET', '/course/sub/out', part), { status: 404 }, 'no symlink leads out')
  const listed = (await dav('PROPFIND', '/course/sub/', { headers: { ...part.headers, depth: '1' } })).body
  t.match(listed, '/course/sub/inside')
  t.notMatch(listed, '/course/sub/out')
  const to = (destination: string) => ({ headers: { ...part.headers, destination } })
  t.match(await dav('MOVE', '/course/sub/new', to('/course/out')), { status: 404 }, 'nothing leaves it')
  t.match(await dav('COPY', '/course/mine', to('/course/sub/in')), { status: 404 }, 'nothing comes in')
  t.match(await dav('DELETE', '/course/sub/', part), { status: 403 }, 'its top stays')
  t.match(await dav('GET', '/', part), { status: 200 })

  t.match(await dav('GET', '/-/tokens', whole), { status: 403 }, 'a token does not show tokens')
  t.match(await dav('GET', '/-/tokens'), { status: 401 })
  const list = JSON.parse((await dav('GET', '/-/tokens', as('alice'))).body) as { name: string; used: boolean }[]
  t.same(
    list.map(({ name, used }) => [name, used]),
    [
      ['laptop', true],
      ['x', false],
      ['phone', true],
      ['sub only', true],
    ],
  )
  t.notMatch(JSON.stringify(list), 'ovl_')
  t.match(await dav('DELETE', `/-/tokens/${id}`, as('bob')), { status: 404 }, 'not by another user')
  t.match(await dav('GET', '/-/tokens?user=alice', as('bob')), { status: 403 })
  t.match(await dav('GET', '/-/tokens?user=alice', as('adam')), { status: 200 }, 'an admin may')
  t.match(await dav('DELETE', `/-/tokens/${id}`, as('alice')), { status: 200 })
  t.match(await dav('GET', '/course/sub/inside', part), { status: 401 }, 'it stops working at once')

  const state = ['--state-dir', join(dir, 'state')]
  const made = await run(['token', 'make', 'bob', 'script', '--expires', '1s', '--json', ...state])
  t.equal(made.status, 0, made.stderr)
  const short = JSON.parse(made.stdout) as { secret: string; expires: string }
  t.match(await dav('GET', '/course/welcome.txt', as('bob', short.secret)), { status: 200 })
  while (Date.now() < Date.parse(short.expires)) await setTimeout(20)
  t.match(
    await dav('GET', '/course/welcome.txt', as('bob', short.secret)),
    { status: 401 },
    'it expires, also if it is remembered',
  )
  t.match(await run(['token', 'make', 'nobody-here', 'x', ...state]), {
    status: 2,
    stderr: /there is no user "nobody-here"/,
  })
  t.match(await run(['token', 'list', 'bob', ...state]), { status: 0, stdout: /script +app +all +write/ })
  const events = readFileSync(join(dir, 'audit'), 'utf8').trim().split('\n')
  t.notMatch(events.join(''), 'ovl_')
  for (const event of ['token made', 'token first used', 'token revoked', 'refused'])
    t.ok(
      events.some((line) => JSON.parse(line).event === event),
      event,
    )
})

t.test('a removed user and a changed password end what was remembered', AS_ROOT, async (t) => {
  const { dav, as, dir } = await classroom(t)
  const made = await run(['token', 'make', 'bob', 'script', '--state-dir', join(dir, 'state')])
  const token = as('bob', made.stdout.trim())
  t.match(await dav('GET', '/course/welcome.txt', token), { status: 200 })
  t.match(await dav('GET', '/course/welcome.txt', as('alice')), { status: 200 })
  writeFileSync(join(dir, 'users'), passwordLines(USERS.filter((name) => name !== 'bob')).replace('alice', 'alicia'))
  const until = async (headers: { headers: Record<string, string> }) => {
    const endMs = Date.now() + 20_000
    while ((await dav('GET', '/course/welcome.txt', headers)).status === 200 && Date.now() < endMs) await setTimeout(50)
    return (await dav('GET', '/course/welcome.txt', headers)).status
  }
  t.equal(await until(as('alice')), 401)
  t.equal(await until(token), 401)
})

t.test('a proxy names its users, and nobody else can', AS_ROOT, async (t) => {
  const proxy = LOGIN.replace('["file"]', '["file", "proxy"]')
  const { dav } = await classroom(t, proxy, 'trusted_proxies = ["127.0.0.1"]')
  const named = (user: string) => ({ headers: { 'x-remote-user': user } })
  t.match(await dav('PUT', '/course/mine', { body: 'x', ...named('carol') }), { status: 201 })
  t.match(await dav('GET', '/course/mine', named('carol')), { status: 200 })
  t.match(await dav('GET', '/course/~carol/mine', named('adam')), { status: 200 }, 'roles go by the name')
  t.match(await dav('GET', '/course/mine', named('')), { status: 401 })
  for (const none of ['a/b', '..', '~alice', 'root'])
    t.match(await dav('GET', '/course/mine', named(none)), { status: 401 }, none)
  const other = await classroom(t, LOGIN, 'trusted_proxies = ["127.0.0.1"]')
  t.match(await other.dav('GET', '/course/', named('adam')), { status: 401 }, 'not without the source')
  const spoofed = await classroom(t, proxy, 'trusted_proxies = ["192.0.2.1"]')
  t.match(await spoofed.dav('GET', '/course/', named('adam')), { status: 401 }, 'not from another address')
})

t.test('a proxy on loopback that names users gets a warning at the start', AS_ROOT, async (t) => {
  const proxy = LOGIN.replace('["file"]', '["file", "proxy"]')
  const warning = /every user of this machine can log in as anybody, .*; if you do not trust them all, let the proxy/
  const stderrOf = async (tables: string, trusted: string) => {
    const { server } = await classroom(t, tables, `trusted_proxies = ["${trusted}"]`)
    return server.stdout() + server.stderr()
  }
  for (const trusted of ['127.0.0.1', '127.9.0.0/16', '::1', '0.0.0.0/0'])
    t.match(await stderrOf(proxy, trusted), warning, trusted)
  t.notMatch(await stderrOf(proxy, '192.0.2.1'), /can log in as anybody/)
  t.notMatch(await stderrOf(LOGIN, '127.0.0.1'), /can log in as anybody/)
})

t.test('a page of another origin uses no password that a browser remembers', AS_ROOT, async (t) => {
  const { dav, as } = await classroom(t)
  const { headers } = as('alice')
  await dav('PUT', '/course/mine', { body: 'x', headers })
  const pages = [
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'empty' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
  ]
  const changing = ['PUT', 'DELETE', 'MKCOL', 'MOVE', 'COPY', 'PROPPATCH', 'LOCK', 'UNLOCK', 'POST', 'PATCH']
  for (const page of pages) {
    for (const method of changing)
      t.equal((await dav(method, '/course/mine', { headers: { ...headers, ...page } })).status, 403, method)
    const json = { 'content-type': 'application/json' }
    const made = await dav('POST', '/-/tokens', { body: '{"name":"x"}', headers: { ...headers, ...page, ...json } })
    t.equal(made.status, 403)
    t.equal((await dav('DELETE', '/-/tokens/0123456789ab', { headers: { ...headers, ...page } })).status, 403)
    t.equal((await dav('POST', '/-/logout', { headers: { ...headers, ...page } })).status, 403)
  }
  const plain = { body: '{"name":"x"}', headers: { ...headers, 'content-type': 'text/plain' } }
  t.match((await dav('POST', '/-/tokens', plain)).status, /^4/, 'a form makes no token')
  t.match(await dav('GET', '/-/tokens', { headers }), { status: 200, body: '[]' })
  t.match(await dav('GET', '/course/mine', { headers }), { status: 200, body: 'x' })
})

for (const [who, as] of [
  ['each acts as itself', ''],
  ['all act as one user', 'as = "1:1"\n'],
] as const)
  t.test(`a lock in a view that all share is of use to its user only, and an admin can end it; ${who}`, AS_ROOT, (t) =>
    lockInSharedView(t, as),
  )

async function lockInSharedView(t: Test, all: string): Promise<void> {
  const shared = `${LOGIN}
[views.pad]
stack = "course"
upper = "shared"
directory = "pad"
[exports.pad]
view = "pad"
door = "webdav"
${all}`
  const { dav, as } = await classroom(t, shared)
  const body = '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
  const locked = await dav('LOCK', '/pad/welcome.txt', { body, ...as('alice') })
  t.equal(locked.status, 200, locked.body)
  const token = String(locked.headers['lock-token'])
  const deep = await dav('LOCK', '/pad/sub/', { body, ...as('alice') })
  const other = String(deep.headers['lock-token'])
  const send = async (name: string, method: string, path: string, headers: Record<string, string>) =>
    (await dav(method, path, { ...(method === 'PUT' && { body: 'x' }), headers: { ...as(name).headers, ...headers } }))
      .status
  t.match((await dav('PROPFIND', '/pad/welcome.txt', as('bob'))).body, token.slice(1, -1), 'bob can read the token')
  for (const name of ['bob', 'teacher']) {
    t.equal(await send(name, 'UNLOCK', '/pad/welcome.txt', { 'lock-token': token }), 403, name)
    t.equal(await send(name, 'LOCK', '/pad/welcome.txt', { if: `(${token})`, timeout: 'Second-1' }), 403, name)
  }
  t.equal(await send('rita', 'UNLOCK', '/pad/welcome.txt', { 'lock-token': token }), 403, 'a reader')
  for (const name of ['bob', 'adam']) {
    t.equal(await send(name, 'PUT', '/pad/welcome.txt', { if: `(${token})` }), 423, name)
    t.equal(await send(name, 'PUT', '/pad/welcome.txt', { 'lock-token': token }), 423, 'as Office does')
    t.equal(await send(name, 'PUT', '/pad/sub/a.txt', { if: `</pad/sub/> (${other})` }), 423, name)
    t.equal(await send(name, 'PUT', '/pad/sub/new', { if: `</pad/sub/> (${other})` }), 423, name)
    t.equal(await send(name, 'DELETE', '/pad/sub/', { if: `(${other})` }), 423, name)
  }
  t.equal(await send('alice', 'PUT', '/pad/sub/a.txt', { if: `</pad/sub/> (${other})` }), 204)
  t.equal(await send('alice', 'PUT', '/pad/welcome.txt', { if: `(${token})` }), 204)
  t.equal(await send('alice', 'UNLOCK', '/pad/sub/', { 'lock-token': other }), 204)
  t.equal(await send('adam', 'UNLOCK', '/pad/welcome.txt', { 'lock-token': token }), 204, 'an admin ends it')
  t.equal(await send('bob', 'PUT', '/pad/welcome.txt', {}), 204)
}

t.test(
  'in the view of a user, a lock is of use to whoever took it, although all act as the user',
  AS_ROOT,
  async (t) => {
    const { dav, as } = await classroom(t)
    const body = '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
    const wish = JSON.stringify({ name: 'a link', kind: 'link', view: 'course', mode: 'write' })
    const json = { ...as('alice').headers, 'content-type': 'application/json' }
    const { href } = JSON.parse((await dav('POST', '/-/tokens', { body: wish, headers: json })).body) as {
      href: string
    }
    const phone = JSON.parse((await dav('POST', '/-/tokens', { body: '{"name":"phone"}', headers: json })).body) as {
      secret: string
    }
    /** Who acts as alice in her view, and where it is for each. */
    const ways = {
      alice: { path: '/course/welcome.txt', login: as('alice').headers, ends: true },
      teacher: { path: '/course/~alice/welcome.txt', login: as('teacher').headers, ends: true },
      link: { path: `${href}welcome.txt`, login: {}, ends: false },
    }
    for (const [owner, { path, login }] of Object.entries(ways)) {
      const locked = await dav('LOCK', path, { body, headers: login })
      t.equal(locked.status, 200, locked.body)
      const token = String(locked.headers['lock-token'])
      t.equal((await dav('PUT', path, { body: 'x', headers: { ...login, if: `(${token})` } })).status, 204, owner)
      for (const [name, other] of Object.entries(ways).filter(([name]) => name !== owner)) {
        const send = async (method: string, headers: Record<string, string>) =>
          (
            await dav(method, other.path, {
              ...(method === 'PUT' && { body: 'x' }),
              headers: { ...other.login, ...headers },
            })
          ).status
        t.equal(await send('PUT', { if: `(${token})` }), 423, `${name} and the lock of ${owner}`)
        t.equal(await send('LOCK', { if: `(${token})`, timeout: 'Second-1' }), 403, name)
        if (!other.ends) t.equal(await send('UNLOCK', { 'lock-token': token }), 403, name)
      }
      const [ender = ways.alice] = Object.values(ways).filter((way) => way.ends && way.path !== path)
      const ended = await dav('UNLOCK', ender.path, { headers: { ...ender.login, 'lock-token': token } })
      t.equal(ended.status, 204, 'who may change all in the view may end it')
    }
    const locked = await dav('LOCK', ways.alice.path, { body, headers: as('alice', phone.secret).headers })
    const token = String(locked.headers['lock-token'])
    const own = { body: 'x', headers: { ...ways.alice.login, if: `(${token})` } }
    t.equal((await dav('PUT', ways.alice.path, own)).status, 204, 'her app password is she')
  },
)

t.test('a login needs what it says', async (t) => {
  const dir = t.testdir({ material: {} })
  const config = join(dir, 'o.toml')
  const check = async (login: string, webdav = '') => {
    writeFileSync(config, configuration({ webdav, tables: login }))
    return (await run(['config', 'check', config])).stderr
  }
  t.match(await check('[login]\nsources = ["file"]'), /login.password_file.: is missing; add password_file/)
  t.match(await check('[login]\nsources = ["proxy"]'), /"proxy" needs webdav.trusted_proxies/)
  t.match(await check('[login]\nsources = ["fil"]'), /did you mean "file"\?/)
  t.match(await check('[login]\nadmins = ["x"]'), /login.sources. is missing/)
  t.match(
    await check('[login]\nsources = ["file"]\npassword_file = "u"\nids = ["0-10"]'),
    /range of user ids from 1000/,
  )
  t.match(
    await check('[login]\nsources = ["file"]\npassword_file = "u"', 'insecure_no_auth = true'),
    /contradicts the login; remove it, or remove \[login\]/,
  )
  writeFileSync(
    config,
    configuration({ tables: '[login]\nsources = ["file"]\npassword_file = "u"' }).replace(
      '"127.0.0.1:0"\n\n',
      '"0.0.0.0:0"\n',
    ),
  )
  t.match(
    (await run(['config', 'check', config])).stderr,
    /passwords would cross the network unencrypted; use 127.0.0.1, or/,
  )
  for (const key of ['password_file', 'audit_file'])
    t.match(
      await check(
        `[login]\nsources = ["file"]\npassword_file = "u"\n${key} = "material/x"`.replace(
          /password_file = "u"\n(?=password)/,
          '',
        ),
      ),
      /material\/x' \(the (password|audit) file\) is inside the lowerdir .*, so clients could read it; move it out/,
    )
  writeFileSync(config, configuration({ more: 'owners = ["x"]' }))
  t.match((await run(['config', 'check', config])).stderr, /owners. needs a login/)
})

t.test('a link opens a path of a view to whoever has it, and nothing else', AS_ROOT, async (t) => {
  const { dav, as, dir, server } = await classroom(t)
  const make = async (wish: object) => {
    const headers = { ...as('alice').headers, 'content-type': 'application/json' }
    const answer = await dav('POST', '/-/tokens', {
      body: JSON.stringify({ name: 'a link', kind: 'link', view: 'course', ...wish }),
      headers,
    })
    t.equal(answer.status, 201, answer.body)
    const { href, id } = JSON.parse(answer.body) as { href: string; id: string }
    t.match(href, /^\/~[\w-]{32}\/$/)
    return { href, id }
  }
  await dav('PUT', '/course/secret', { body: 'not for others', ...as('alice') })
  await dav('PUT', '/course/sub/inside', { body: 'inside', ...as('alice') })
  const reading = await make({ path: 'sub' })
  t.match(await dav('GET', `${reading.href}inside`), { status: 200, body: 'inside' })
  t.match(await dav('GET', `${reading.href.replace('~', '%7E')}inside`), { status: 200 })
  const page = await dav('GET', reading.href)
  t.match(page, { status: 200, body: /inside/ })
  t.notMatch(page.body, /course|secret|Upload/, 'neither the view nor the path to it')
  const found = (await dav('PROPFIND', reading.href, { headers: { depth: '1' } })).body
  t.match(found, `<D:href>${reading.href}</D:href>`)
  t.match(found, `<D:href>${reading.href}inside</D:href>`)
  t.notMatch(found, /course|\/sub\/|href>[^<]*out</, 'hrefs are those of the link')
  t.match(await dav('PUT', `${reading.href}new`, { body: 'x' }), { status: 403 })
  t.match(await dav('GET', `${reading.href}out`), { status: 404 }, 'no symlink leads out')
  t.match(await dav('GET', '/course/sub/inside'), { status: 401 }, 'other paths need a login')
  t.match(await dav('GET', `/~${'x'.repeat(32)}/`), { status: 404 })

  const writing = await make({ path: 'sub', mode: 'write' })
  t.match(await dav('PUT', `${writing.href}new`, { body: 'x' }), { status: 201 })
  const to = (destination: string) => ({ headers: { destination } })
  t.match(await dav('MOVE', `${writing.href}new`, to(`${writing.href}moved`)), { status: 201 })
  t.match(await dav('COPY', `${writing.href}moved`, to('/course/sub/copy')), { status: 403 }, 'only to its own URLs')
  t.match(await dav('DELETE', writing.href), { status: 403 })
  t.match(await dav('GET', '/course/sub/moved', as('alice')), { status: 200, body: 'x' })
  const locked = await dav('LOCK', `${writing.href}moved`, {
    body: '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>',
  })
  t.match(locked, { status: 200, body: `<D:href>${writing.href}moved</D:href>` })
  t.match(await dav('PUT', '/course/sub/moved', { body: 'y', ...as('alice') }), { status: 423 }, 'locks hold for all')

  const drop = await make({ path: 'sub', mode: 'drop' })
  t.match(await dav('PUT', `${drop.href}dropped`, { body: 'work' }), { status: 201 })
  t.match(await dav('PUT', `${drop.href}dropped`, { body: 'again' }), { status: 412 }, 'nothing is replaced')
  const part = { headers: { 'content-range': 'bytes 0-0/4' } }
  t.match(await dav('PUT', `${drop.href}inside`, { body: 'X', ...part }), { status: 403 }, 'not in part either')
  t.match(await dav('GET', (await make({ path: 'sub/inside', mode: 'drop' })).href), { status: 403 })
  const form = await dav('GET', drop.href)
  t.match(form, { status: 200, body: /Upload/ })
  t.notMatch(form.body, /inside|dropped/)
  for (const [method, path] of [
    ['GET', 'dropped'],
    ['GET', 'inside'],
    ['PROPFIND', ''],
    ['DELETE', 'dropped'],
    ['MKCOL', 'folder'],
    ['GET', '?archive=zip'],
    ['POST', 'x'],
  ])
    t.match(await dav(method as string, `${drop.href}${path}`), { status: 403 }, `${method} ${path}`)
  t.match(await dav('GET', '/course/sub/dropped', as('alice')), { status: 200, body: 'work' })

  const file = await make({ path: 'sub/inside', password: 'open sesame', seconds: 3600 })
  const asked = await dav('GET', file.href)
  t.match(asked, { status: 401, headers: { 'www-authenticate': /^Basic realm="overlayd, link [0-9a-f]{12}"/ } })
  t.match(await dav('GET', file.href, as('whoever', 'open sesame')), { status: 200, body: 'inside' })
  t.match(await dav('GET', file.href, as('whoever', 'open')), { status: 401 })
  t.match(await dav('GET', file.href, as('alice')), { status: 401 }, 'the password of the user is not that of the link')

  t.match(await dav('DELETE', `/-/tokens/${reading.id}`, as('alice')), { status: 200 })
  t.match(await dav('GET', `${reading.href}inside`), { status: 404 }, 'a revoked link ends at once')
  const made = await run([
    ...['token', 'make', 'bob', 'handouts', '--link', '--view', 'course', '--path', 'sub', '--drop-only'],
    ...['--state-dir', join(dir, 'state')],
  ])
  t.match(made, { status: 0, stdout: /^\/~[\w-]{32}\/\n$/ })
  t.match(await dav('PROPFIND', writing.href, { body: '<no xml', headers: { depth: '0' } }), { status: 400 })
  await server.stop()
  const told = readFileSync(join(dir, 'audit'), 'utf8') + server.stderr()
  t.match(server.stderr(), /malformed request/)
  for (const { href } of [reading, writing, drop, file]) t.notMatch(told, href.slice(2, -1))
})
