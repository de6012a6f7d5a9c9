import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import t from 'tap'
import { newHash } from '../../../server/login/index.ts'
import { TestAuthority, writePair } from '../../helpers/certificates.ts'
import { AS_ROOT, course } from '../course.ts'

t.setTimeout(120_000)

const TABLES = `
[login]
sources = ["file"]
password_file = "users"
ids = ["100000-199999"]
audit_file = "audit"
[tls]
certificate = "server.pem"
key = "server.key"
client_ca = "ca.pem"
`

t.test('with a login a certificate is the user, if the login knows that user', AS_ROOT, async (t) => {
  const authority = await TestAuthority.make()
  const [server, alice, mallory, lab] = await Promise.all([
    authority.server(),
    authority.client('user', 'alice'),
    authority.client('user', 'mallory'),
    authority.client('machine', 'alice'),
  ])
  const all = await course(t, {
    tables: TABLES,
    prepare(dir) {
      const line = (name: string) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, name))}\n`
      writeFileSync(join(dir, 'users'), line('alice') + line('bob'), { mode: 0o600 })
      writePair(dir, 'server', server)
      writeFileSync(join(dir, 'ca.pem'), authority.cert)
    },
  })
  const { port } = new URL(all.server.webdavUrl as string)
  const send = async (method: string, path: string, pair: ConnectionOptions, headers: Record<string, string> = {}) => {
    const asked = request({ host: '127.0.0.1', port, method, path, headers, ca: authority.cert, agent: false, ...pair })
    asked.end(method === 'PUT' ? 'of alice' : undefined)
    const [response] = await once(asked, 'response')
    let body = ''
    for await (const part of response) body += part
    return { status: response.statusCode as number, body }
  }
  const basic = (name: string) => ({ authorization: `Basic ${Buffer.from(`${name}:pw-${name}`).toString('base64')}` })
  t.match(await send('PUT', '/course/mine', alice), { status: 201 })
  t.match(await send('GET', '/course/mine', alice), { status: 200, body: 'of alice' })
  t.match(await send('GET', '/course/mine', {}, basic('alice')), { status: 200 }, 'the same user by a password')
  t.match(await send('GET', '/course/mine', alice, basic('bob')), { status: 404 }, 'a password beside it counts')
  t.match(await send('GET', '/course/mine', {}), { status: 401 }, 'neither')
  t.match(await send('GET', '/course/mine', mallory), { status: 401 }, 'a user whom the login does not know')
  t.match(await send('GET', '/course/mine', lab), { status: 401 }, 'a machine is no user')
  t.match(
    await send('GET', '/course/mine', alice, { origin: 'https://evil.example' }),
    { status: 403 },
    'a foreign page',
  )
})
