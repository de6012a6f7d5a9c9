import { once } from 'node:events'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { newHash } from '../../server/login/index.ts'
import { AS_ROOT, course } from './course.ts'

t.setTimeout(300_000)

const LOGIN = '[login]\nsources = ["file"]\npassword_file = "users"\nids = ["100000-199999"]\naudit_file = "audit"\n'
const ALICE = { authorization: `Basic ${Buffer.from('alice:pw-alice').toString('base64')}` }
const JSON_OF_ALICE = { ...ALICE, 'content-type': 'application/json' }

async function running(t: Test) {
  const made = await course(t, {
    tables: LOGIN,
    prepare: (dir) => {
      writeFileSync(join(dir, 'users'), `alice:${newHash('pw-alice', Buffer.alloc(16, 1))}\n`, { mode: 0o600 })
      symlinkSync('/welcome.txt', join(dir, 'material/sub/out'))
      symlinkSync('sub', join(dir, 'material/way'))
    },
  })
  const { dav } = made
  const ask = async (wish: object) => {
    const answer = await dav('POST', '/-/tokens', { body: JSON.stringify(wish), headers: JSON_OF_ALICE })
    return { status: answer.status, ...(JSON.parse(answer.body) as { error?: string; href?: string; id?: string }) }
  }
  const link = async (wish: object) => {
    const { status, href = '', id = '' } = await ask({ name: 'a link', kind: 'link', view: 'course', ...wish })
    t.equal(status, 201)
    return { href, id }
  }
  const alice = (method: string, path: string, more: Record<string, string> = {}, body?: string) =>
    dav(method, path, { ...(body !== undefined && { body }), headers: { ...ALICE, ...more } })
  return { ...made, ask, link, alice }
}

t.test('wishes that are too long, or none, are refused in words, and leave nothing', AS_ROOT, async (t) => {
  const { ask, dav } = await running(t)
  const refused = (wish: object, words: RegExp, status = 400) => t.resolveMatch(ask(wish), { status, error: words })
  await refused({ name: 'n'.repeat(10_000) }, /longer than 8192 bytes; shorten the name or the path/, 413)
  await refused({ name: 'n'.repeat(101) }, /1 to 100 characters/)
  await refused({ name: 'a\u0000b' }, /1 to 100 characters/)
  await refused({ name: '\ud800' }, /1 to 100 characters/)
  await refused({}, /cannot be understood/)
  await refused({ name: ['x', 'y'] }, /cannot be understood/)
  await refused({ name: 'x', kind: 'link', view: 'course', path: '../up' }, /not a path inside a view/)
  await refused({ name: 'x', kind: 'link', view: 'course', path: 'a/'.repeat(2049) }, /not a path inside a view/)
  await refused({ name: 'x', kind: 'link', view: 'none' }, /there is no view "none"/)
  await refused({ name: 'x', seconds: -1 }, /a second to ten years/)
  const text = await dav('POST', '/-/tokens', {
    body: '{"name": "x"}',
    headers: { ...ALICE, 'content-type': 'text/csv' },
  })
  t.match(text, { status: 415, body: /Content-Type: application\/json/ })
  const cut = await dav('POST', '/-/tokens', { body: '{"name": ', headers: JSON_OF_ALICE })
  t.match(cut, { status: 400, body: /cannot be understood/ })
  t.equal((await dav('GET', '/-/tokens', { headers: ALICE })).body, '[]')
})

t.test('thousands of links at once leave a user with a hundred', AS_ROOT, async (t) => {
  const { ask, dav } = await running(t)
  const wishes = Array.from({ length: 3000 }, (_, i) => ({ name: `link ${i}`, kind: 'link', view: 'course' }))
  const made = { 201: 0, 400: 0 } as Record<number, number>
  for (let at = 0; at < wishes.length; at += 100) {
    for (const { status } of await Promise.all(wishes.slice(at, at + 100).map(ask)))
      made[status] = (made[status] ?? 0) + 1
  }
  t.same(made, { 201: 100, 400: 2900 })
  t.match(await ask({ name: 'one more' }), { status: 400, error: /alice has 100 tokens already.*revoke some/ })
  t.equal((JSON.parse((await dav('GET', '/-/tokens', { headers: ALICE })).body) as unknown[]).length, 100)
})

t.test('a link to a path that vanished, or became a symlink out of it, leads nowhere', AS_ROOT, async (t) => {
  const { dav, link, alice } = await running(t)
  await alice('MKCOL', '/course/mine')
  await alice('PUT', '/course/mine/f', {}, 'mine')
  const folder = await link({ path: 'mine', mode: 'write' })
  const dropping = await link({ path: 'mine', mode: 'drop' })
  const file = await link({ path: 'mine/f' })
  for (const [path, body] of [
    [folder.href, undefined],
    [`${folder.href}f`, 'mine'],
    [file.href, 'mine'],
  ] as const)
    t.match(await dav('GET', path), { status: 200, ...(body !== undefined && { body }) })
  await alice('MOVE', '/course/mine', { destination: '/course/theirs' })
  for (const path of [folder.href, `${folder.href}f`, file.href, dropping.href])
    t.match(await dav('GET', path), { status: 404 }, path)
  for (const path of [`${folder.href}new`, `${dropping.href}new`])
    t.match((await dav('PUT', path, { body: 'x' })).status, /404|409/, 'nothing is written beside it')
  t.match(await alice('GET', '/course/new'), { status: 404 })

  for (const path of ['way', 'way/a.txt', 'sub/out']) {
    const { href } = await link({ path, mode: 'write' })
    t.match(await dav('GET', href), { status: 404 }, `${path} leads through a symlink`)
    t.match((await dav('PUT', `${href}new`, { body: 'x' })).status, /40[349]/, path)
    t.match((await dav('PROPFIND', href, { headers: { depth: '1' } })).status, /404/, path)
  }
  t.match(await alice('GET', '/course/sub/new'), { status: 404 })
  t.match(await alice('GET', '/course/welcome.txt'), { status: 200, body: 'welcome' })
})

t.test('an upload that began before its link expired ends; nothing begins after', AS_ROOT, async (t) => {
  const { server, dav, link, alice } = await running(t)
  const { href } = await link({ path: 'sub', mode: 'write', seconds: 2 })
  const madeMs = Date.now()
  const resumable = {
    'tus-resumable': '1.0.0',
    'upload-length': '10',
    'upload-metadata': `filename ${Buffer.from('tus').toString('base64')}`,
  }
  const begun = await dav('POST', href, { headers: resumable })
  t.equal(begun.status, 201, begun.body)
  const slow = httpRequest(new URL(`${href}slow`, server.webdavUrl), { method: 'PUT' })
  const answered = once(slow, 'response') as Promise<[IncomingMessage]>
  slow.write('begun, ')
  await pause(Math.max(0, madeMs + 2200 - Date.now()))
  t.match(await dav('GET', href), { status: 404, body: /does not exist or has expired/ })
  slow.end('ended')
  const [{ statusCode }] = await answered
  t.equal(statusCode, 201)
  t.equal((await alice('GET', '/course/sub/slow')).body, 'begun, ended')
  const more = { 'tus-resumable': '1.0.0', 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' }
  t.match(
    await dav('PATCH', new URL(String(begun.headers.location), server.webdavUrl).pathname, {
      body: '0123456789',
      headers: more,
    }),
    { status: 404 },
  )
  t.match(await dav('PUT', `${href}late`, { body: 'x' }), { status: 404 })
})

t.test('guessing the password of a link 10,000 times is stopped, and others are let in', AS_ROOT, async (t) => {
  const { dir, server, dav, link } = await running(t)
  const { href, id } = await link({ path: 'sub', password: 'open sesame' })
  const guess = (secret: string) => ({
    headers: { authorization: `Basic ${Buffer.from(`x:${secret}`).toString('base64')}` },
  })
  t.match(await dav('GET', `${href}a.txt`, guess('open sesame')), { status: 200 })
  const seen: Record<number, number> = {}
  for (let at = 0; at < 10_000; at += 100) {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => dav('GET', `${href}a.txt`, guess(`guess ${at + i}`))),
    )
    for (const { status } of answers) seen[status] = (seen[status] ?? 0) + 1
  }
  t.equal((seen[401] ?? 0) + (seen[429] ?? 0), 10_000)
  t.ok((seen[401] ?? 0) < 200, `${seen[401]} guesses were checked`)
  t.match(await dav('GET', `${href}a.txt`, guess('another')), { status: 429, headers: { 'retry-after': /\d+/ } })
  const elsewhere = async (path: string, headers: Record<string, string>) => {
    const asked = httpRequest(new URL(path, server.webdavUrl), { localAddress: '127.0.0.9', headers })
    asked.end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    answer.resume()
    return answer.statusCode
  }
  t.equal(await elsewhere(`${href}a.txt`, guess('open sesame').headers), 200, 'who knows it and comes from elsewhere')
  t.equal(await elsewhere('/course/welcome.txt', ALICE), 200, 'its user goes on')
  await server.stop()
  const told = readFileSync(join(dir, 'audit'), 'utf8')
  t.match(told, `wrong password of link ${id}`)
  t.notMatch(told + server.stderr(), /guess \d|open sesame/)
  t.ok(told.split('\n').length < 400, 'and does not fill the disk')
})
