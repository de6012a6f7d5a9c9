import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { newHash } from '../../server/login/index.ts'
import { AS_ROOT, course } from './course.ts'

t.setTimeout(300_000)

const TABLES = `
[login]
sources = ["file"]
password_file = "users"
ids = ["100000-199999"]
readers = ["rita"]
[views.notes]
stack = "course"
upper = "per-user"
directory = "notes"
create = true
idle = "1s"
quota = "100K"
[exports.notes]
view = "notes"
door = "webdav"
`
const LOCK =
  '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'

/** A server with two templates, and requests as its users. */
async function twoTemplates(t: Test) {
  const users = ['alice', 'bob', 'teacher', 'rita']
  const lines = users.map((name) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, name))}\n`).join('')
  const prepare = (dir: string) => writeFileSync(join(dir, 'users'), lines, { mode: 0o600 })
  const all = await course(t, { more: 'create = true\nidle = "1s"\nowners = ["teacher"]', tables: TABLES, prepare })
  return (
    name: string,
    method: string,
    path: string,
    more: { body?: string; headers?: Record<string, string> } = {},
  ) => {
    const authorization = `Basic ${Buffer.from(`${name}:pw-${name}`).toString('base64')}`
    return all.dav(method, path, { ...more, headers: { authorization, ...more.headers } })
  }
}

const to = (destination: string, more: Record<string, string> = {}) => ({ headers: { destination, ...more } })

t.test('a user copies and moves between their views of two templates', AS_ROOT, async (t) => {
  const ask = await twoTemplates(t)
  t.equal((await ask('alice', 'PUT', '/course/f', { body: 'mine' })).status, 201)
  t.equal((await ask('alice', 'COPY', '/course/f', to('/notes/f'))).status, 201)
  t.equal((await ask('alice', 'GET', '/notes/f')).body, 'mine')
  t.equal((await ask('alice', 'COPY', '/course/f', to('/notes/f', { overwrite: 'F' }))).status, 412)
  t.equal((await ask('alice', 'COPY', '/course/f', to('/notes/~alice/f'))).status, 204, 'by the other path of the view')

  t.equal((await ask('alice', 'PUT', '/course/sub/deep.txt', { body: 'deep' })).status, 201)
  t.equal((await ask('alice', 'MOVE', '/course/sub', to('/notes/moved'))).status, 201)
  t.equal((await ask('alice', 'GET', '/notes/moved/deep.txt')).body, 'deep')
  t.equal((await ask('alice', 'GET', '/notes/moved/a.txt')).body, 'A', 'also what was of the material')
  t.equal((await ask('alice', 'GET', '/course/sub/deep.txt')).status, 404)
  t.equal((await ask('alice', 'MOVE', '/notes/moved', to('/course/sub'))).status, 201, 'and back')
  t.equal((await ask('alice', 'GET', '/course/sub/deep.txt')).body, 'deep')

  t.equal((await ask('bob', 'GET', '/notes/f')).status, 404, 'nobody else has it')
  t.equal((await ask('alice', 'MOVE', '/course/', to('/notes/all'))).status, 403, 'the root of a view stays')
  t.equal((await ask('alice', 'COPY', '/course/f', to('/notes/none/f'))).status, 409)
  t.equal((await ask('alice', 'COPY', '/course/f', to('/nowhere/f'))).status, 403)
})

t.test('nobody copies into the view of another, but an owner of the template does', AS_ROOT, async (t) => {
  const ask = await twoTemplates(t)
  t.equal((await ask('alice', 'PUT', '/course/f', { body: 'of alice' })).status, 201)
  t.equal((await ask('bob', 'PUT', '/course/g', { body: 'of bob' })).status, 201)
  t.equal((await ask('bob', 'COPY', '/course/~alice/f', to('/course/stolen'))).status, 404)
  const forced = await ask('bob', 'COPY', '/course/g', to('/course/~alice/f'))
  t.equal(forced.status, 409, 'for bob ~alice is a name in his own view')
  t.equal((await ask('alice', 'GET', '/course/f')).body, 'of alice')
  t.equal((await ask('teacher', 'COPY', '/course/~alice/f', to('/course/~bob/from-alice'))).status, 201)
  t.equal((await ask('bob', 'GET', '/course/from-alice')).body, 'of alice')
  t.equal((await ask('teacher', 'MOVE', '/course/~bob/g', to('/course/~alice/g'))).status, 201)
  t.equal((await ask('alice', 'GET', '/course/g')).body, 'of bob')
  t.equal((await ask('bob', 'GET', '/course/g')).status, 404)
  t.equal(
    (await ask('teacher', 'COPY', '/course/~alice/f', to('/notes/~bob/f'))).status,
    409,
    'an owner of one template only',
  )
  t.equal((await ask('rita', 'COPY', '/course/welcome.txt', to('/notes/w'))).status, 403, 'a reader changes nothing')
})

t.test('locks and quotas of the destination count', AS_ROOT, async (t) => {
  const ask = await twoTemplates(t)
  t.equal((await ask('alice', 'PUT', '/course/f', { body: 'new' })).status, 201)
  t.equal((await ask('alice', 'PUT', '/notes/f', { body: 'old' })).status, 201)
  const lock = await ask('alice', 'LOCK', '/notes/f', { body: LOCK })
  const token = String(lock.headers['lock-token'])
  t.equal((await ask('alice', 'COPY', '/course/f', to('/notes/f'))).status, 423)
  t.equal((await ask('alice', 'GET', '/notes/f')).body, 'old')
  const tagged = to('/notes/f', { if: `</notes/f> (${token})` })
  t.equal((await ask('alice', 'COPY', '/course/f', tagged)).status, 204)
  t.equal((await ask('alice', 'GET', '/notes/f')).body, 'new')
  t.equal((await ask('alice', 'COPY', '/course/f', to('/notes/f', { if: '</notes/f> (<urn:x>)' }))).status, 412)

  t.equal((await ask('alice', 'PUT', '/course/large', { body: 'x'.repeat(101 * 1024) })).status, 201)
  t.equal((await ask('alice', 'MOVE', '/course/large', to('/notes/large'))).status, 507)
  t.equal((await ask('alice', 'GET', '/notes/large')).status, 404, 'nothing half-written')
  t.equal((await ask('alice', 'GET', '/course/large')).status, 200, 'the source stays')
})

t.test('without a login, a request acts as one user and reaches the views of no other', AS_ROOT, async (t) => {
  const tables = TABLES.slice(TABLES.indexOf('[views.notes]'))
  const { dav } = await course(t, { tables })
  t.equal((await dav('PUT', '/course/~daemon/f', { body: 'of daemon' })).status, 201)
  t.equal((await dav('COPY', '/course/~daemon/f', to('/notes/~daemon/f'))).status, 201)
  t.equal((await dav('GET', '/notes/~daemon/f')).body, 'of daemon')
  t.equal((await dav('COPY', '/course/~daemon/f', to('/notes/~bin/f'))).status, 403)
  t.equal((await dav('MOVE', '/course/~daemon/f', to('/course/~bin/f'))).status, 403)
})

t.test('as root, a request reaches the views of all users', AS_ROOT, async (t) => {
  const made = await course(t)
  t.equal((await made.dav('PUT', '/course/~daemon/f', { body: 'of daemon' })).status, 201)
  t.equal((await made.dav('PUT', '/course/~bin/g', { body: 'of bin' })).status, 201)
  await made.server.stop()
  const text = readFileSync(join(made.dir, 'o.toml'), 'utf8')
  writeFileSync(join(made.dir, 'o.toml'), text.replace('door = "webdav"', 'door = "webdav"\nas = "root"'))
  const again = await course(t, { dir: made.dir })
  t.equal((await again.dav('COPY', '/course/~daemon/f', to('/course/~bin/f'))).status, 201)
  t.equal((await again.dav('GET', '/course/~bin/f')).body, 'of daemon')
})
