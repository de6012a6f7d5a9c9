import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { newHash } from '../../server/login/index.ts'
import { AS_ROOT, type Course, course } from './course.ts'

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
): Promise<Course & { as: (name: string, password?: string) => { headers: Record<string, string> } }> {
  const prepare = (dir: string) => writeFileSync(join(dir, 'users'), passwordLines(USERS), { mode: 0o600 })
  const made = await course(t, { more: 'create = true\nowners = ["teacher"]', tables, prepare })
  const as = (name: string, password = `pw-${name}`) => ({
    headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` },
  })
  return { ...made, as }
}

t.test('every method asks for a name and a password, also those by which clients probe', AS_ROOT, async (t) => {
  const { dav } = await classroom(t)
  for (const method of ['OPTIONS', 'PROPFIND', 'GET', 'HEAD', 'PUT', 'LOCK', 'MKCOL', 'DELETE', 'REPORT', 'POST']) {
    for (const path of ['/', '/course/', '/course/welcome.txt', '/nothing/']) {
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
