import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { newHash } from '../../server/login/index.ts'
import { Comparisons } from '../../server/own-views/comparisons.ts'
import { AS_ROOT, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(120_000)
const USERS = ['alice', 'bob', 'reader']

async function classOf(t: Parameters<typeof course>[0]) {
  const started = await course(t, {
    tables:
      '[login]\nsources = ["file"]\npassword_file = "users"\nids = ["100000-199999"]\nadmins = ["adam"]\nreaders = ["reader"]\n',
    prepare: (dir) => {
      const lines = USERS.map((name) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, 1))}\n`)
      writeFileSync(join(dir, 'users'), lines.join(''), { mode: 0o600 })
    },
  })
  const as = (user: string, password = `pw-${user}`) => ({
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  })
  const { dav, dir } = started
  return {
    ...started,
    as,
    lines: (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    get: (user: string, path: string) => dav('GET', `/-/mine/course${path}`, { headers: as(user) }),
    overlayd: (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')]),
  }
}

t.test('a user sees what differs in the own view, and its text, and nobody else does', AS_ROOT, async (t) => {
  const { dav, as, get, lines } = await classOf(t)
  t.match(await get('alice', '/changes'), { status: 404, body: /you have no view of this name yet/ })
  await dav('PUT', '/course/welcome.txt', { headers: as('alice'), body: 'hello' })
  await dav('PUT', '/course/new.txt', { headers: as('alice'), body: 'n' })
  await dav('PUT', '/course/welcome.txt', { headers: as('bob'), body: 'bob' })
  const changes = await get('alice', '/changes')
  t.equal(changes.status, 200)
  t.equal(changes.headers['content-type'], 'application/x-ndjson')
  t.same(
    lines(changes.body).map(({ kind, path, done }) => path ?? done ?? kind),
    ['new.txt', 'welcome.txt', 2],
  )
  const patch = await get('alice', '/changes?path=welcome.txt&patch=1')
  t.match(patch.body, /^--- a\/welcome\.txt\n\+\+\+ b\/welcome\.txt\n@@ [\s\S]*-welcome\n[\s\S]*\+hello\n/)
  t.equal((await get('alice', '/changes?path=sub&patch=1')).body, '', 'what has not changed has no patch')
  t.equal((await dav('GET', '/-/mine/course/changes')).status, 401, 'without a login nobody is let in')
  t.match(await dav('GET', '/-/mine/other/changes', { headers: as('alice') }), { status: 404 })
})

t.test('versions are listed, and compared with', AS_ROOT, async (t) => {
  const { dav, as, get, lines, overlayd } = await classOf(t)
  await dav('PUT', '/course/a', { headers: as('alice'), body: '1' })
  t.equal((await overlayd('snapshot', 'course/alice', 'monday')).status, 0)
  await dav('PUT', '/course/b', { headers: as('alice'), body: '2' })
  t.match(JSON.parse((await get('alice', '/versions')).body), [{ name: 'monday', created: /^\d{4}-/ }])
  t.same(
    lines((await get('alice', '/changes?against=monday')).body).map(({ path, done }) => path ?? done),
    ['b', 1],
  )
  t.match(await get('alice', '/changes?against=tuesday'), { status: 400, body: /no snapshot \\"tuesday\\"/ })
  t.match(await get('bob', '/versions'), { status: 404 })
})

t.test(
  'a token may be for a part of the view only, so it gets nothing here; a reader sees the own view',
  AS_ROOT,
  async (t) => {
    const { dav, as, get } = await classOf(t)
    const headers = { ...as('alice'), 'content-type': 'application/json' }
    const made = await dav('POST', '/-/tokens', { headers, body: JSON.stringify({ name: 'x' }) })
    const { secret } = JSON.parse(made.body) as { secret: string }
    t.match(await dav('GET', '/-/mine/course/versions', { headers: as('alice', secret) }), {
      status: 403,
      body: /not with a token/,
    })
    await dav('GET', '/course/', { headers: as('reader') })
    t.equal((await get('reader', '/versions')).status, 200)
  },
)

t.test('the page names the template as text only', AS_ROOT, async (t) => {
  const { dav, as } = await classOf(t)
  const page = await dav('GET', '/-/mine/course', { headers: as('alice') })
  t.equal(page.status, 200)
  t.match(page.headers['content-security-policy'], /default-src 'none'; script-src 'self'/)
  t.match(page.body, /data-template="course"/)
  const evil = await dav('GET', '/-/mine/%3Cb%3E', { headers: as('alice') })
  t.equal(evil.status, 404)
  t.notMatch(evil.body, /<b>/)
  await dav('GET', '/course/', { headers: as('alice') })
  t.match((await dav('GET', '/course/', { headers: as('alice') })).body, /href="\/-\/mine\/course">My changes</)
})

t.test('a user has one comparison at a time, and all together have few', (t) => {
  const comparisons = new Comparisons()
  t.ok(comparisons.begin('a'))
  t.notOk(comparisons.begin('a'))
  for (const user of ['b', 'c', 'd']) t.ok(comparisons.begin(user))
  t.notOk(comparisons.begin('e'))
  comparisons.end('a')
  t.ok(comparisons.begin('e'))
  t.end()
})
