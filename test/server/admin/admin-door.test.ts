import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request as clearRequest } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import t from 'tap'
import { AdminClient } from '../../../server/admin/client/admin-client.ts'
import { newHash } from '../../../server/login/index.ts'
import { readRunFiles } from '../../../server/state-dir.ts'
import { TestAuthority, writePair } from '../../helpers/certificates.ts'
import { AS_ROOT, course } from '../course.ts'

t.setTimeout(120_000)

const TABLES = `
[login]
sources = ["file"]
password_file = "users"
ids = ["100000-199999"]
admins = ["teacher", "auditor"]
readers = ["auditor"]
audit_file = "audit"
[tls]
certificate = "server.pem"
key = "server.key"
client_ca = "ca.pem"
[admin]
listen = "127.0.0.1:0"
socket = "shared/admin.sock"
group = "daemon"
`

t.test('the admin API over TCP, for administrators only', AS_ROOT, async (t) => {
  const authority = await TestAuthority.make()
  const [pair, teacher, alice] = await Promise.all([
    authority.server(),
    authority.client('user', 'teacher'),
    authority.client('user', 'alice'),
  ])
  const { dir, server } = await course(t, {
    tables: TABLES,
    prepare(dir) {
      const line = (name: string) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, name))}\n`
      writeFileSync(join(dir, 'users'), ['teacher', 'auditor', 'alice'].map(line).join(''), { mode: 0o600 })
      writePair(dir, 'server', pair)
      writeFileSync(join(dir, 'ca.pem'), authority.cert)
      mkdirSync(join(dir, 'shared'))
    },
  })
  const [run] = await readRunFiles(join(dir, 'state'))
  const url = run?.admin.url as string
  t.match(url, /^https:\/\/127\.0\.0\.1:[1-9]\d*\/$/)
  const { port } = new URL(url)
  const basic = (name: string, password = `pw-${name}`) => ({
    authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
  })
  const send = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    more: ConnectionOptions = {},
    body?: string,
  ) => {
    const asked = request({ host: '127.0.0.1', port, method, path, headers, ca: authority.cert, agent: false, ...more })
    asked.end(body)
    const [response] = await once(asked, 'response')
    let text = ''
    for await (const part of response) text += part
    return { status: response.statusCode as number, text, headers: response.headers as Record<string, string> }
  }

  t.match(await send('GET', '/v1/status', basic('teacher')), { status: 200, text: /"version"/ })
  const json = { 'content-type': 'application/json' }
  const made = await send('POST', '/v1/view/create', { ...basic('teacher'), ...json }, {}, '{"view":"course/alice"}')
  t.match(made, { status: 200, text: /course\/alice/ }, 'a change')
  t.match(await send('GET', '/', basic('teacher')), { status: 200, text: /<h1>overlayd/ }, 'the page')
  t.match(await send('GET', '/v1/status', {}, teacher), { status: 200 }, 'by the certificate of the user')

  t.match(await send('GET', '/v1/status', basic('alice')), { status: 403, text: /Only administrators/ })
  t.match(await send('GET', '/v1/status', {}, alice), { status: 403 }, 'a certificate of another user')
  t.match(await send('GET', '/v1/status', basic('auditor')), { status: 403 }, 'a reader changes nothing')
  t.match(await send('GET', '/v1/status'), { status: 401, headers: { 'www-authenticate': /^Basic realm/ } })
  const before = performance.now()
  t.match(await send('GET', '/v1/status', basic('teacher', 'wrong')), { status: 401 })
  t.ok(performance.now() - before >= 490, 'the answer to a wrong password waits')
  for (const path of ['/', '/api', '/openapi.json', '/v1/job/events'])
    t.match(await send('GET', path, basic('alice')), { status: 403 }, path)

  const foreign = { origin: 'https://evil.example' }
  t.match(await send('GET', '/v1/status', { ...basic('teacher'), ...foreign }), { status: 403, text: /another origin/ })
  const sameSite = { 'sec-fetch-site': 'same-site' }
  t.match(await send('GET', '/v1/status', { ...basic('teacher'), ...sameSite }), { status: 403 }, 'another port')

  const dav = new URL(server.webdavUrl as string).port
  const token = await send(
    'POST',
    '/-/tokens',
    { ...basic('teacher'), ...json },
    { port: Number(dav) },
    '{"name":"laptop"}',
  )
  const { secret } = JSON.parse(token.text) as { secret: string }
  t.match(await send('GET', '/v1/status', basic('teacher', secret)), { status: 403, text: /App passwords/ })

  const clear = clearRequest({ host: '127.0.0.1', port, path: '/v1/status', agent: false }).end()
  const [plain] = await once(clear, 'response')
  t.equal(plain.statusCode, 400, 'clear text')
  plain.resume()

  const remote = await AdminClient.to({ url, ca: authority.cert, ...basic('teacher') })
  t.teardown(() => remote.close())
  t.match(await remote.run('view list', { template: 'course' }), [{ path: 'course/alice' }], 'the typed client')
  t.match(await remote.run('usage', {}), { unknown: Number }, 'a job')

  const shared = statSync(join(dir, 'shared/admin.sock'))
  t.equal(shared.mode & 0o777, 0o660)
  t.equal(shared.gid, 1, 'the group daemon')
  t.same(readdirSync(join(dir, 'shared')), ['admin.sock'])
  const local = await AdminClient.to({ socket: join(dir, 'shared/admin.sock') })
  t.teardown(() => local.close())
  t.match(await local.run('status', {}), { version: String })

  const guesses: number[] = []
  while (guesses.length < 60 && !guesses.includes(429)) {
    const round = Array.from({ length: 4 }, (_each, at) =>
      send('GET', '/', basic('nobody', `guess ${guesses.length + at}`)),
    )
    for (const { status } of await Promise.all(round)) guesses.push(status)
  }
  t.ok(guesses.includes(429), 'guessing is limited')

  t.equal(await server.stop(), 0)
  t.same(readdirSync(join(dir, 'shared')), [], 'the socket is gone')
  const audit = readFileSync(join(dir, 'audit'), 'utf8')
  t.match(audit, /"event":"login","user":"teacher","client":"127\.0\.0\.1","proof":"password"/)
  t.match(audit, /"event":"refused","user":"alice","client":"127\.0\.0\.1","what":"use the admin API"/)
  t.match(audit, /"event":"login refused","user":"teacher","client":"127\.0\.0\.1","reason":"wrong"/)
})
