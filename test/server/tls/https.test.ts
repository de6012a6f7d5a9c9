import { once } from 'node:events'
import { cpSync, renameSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { EXPIRED, TestAuthority, writePair } from '../../helpers/certificates.ts'
import { AS_SERVER, freePorts, type Running, run, start } from '../launch.ts'

const authority = await TestAuthority.make()
const other = await TestAuthority.make('Another authority')
const [good, renewed, alice, bob] = await Promise.all([
  authority.server(),
  authority.server(),
  authority.client('user', 'alice'),
  authority.client('user', 'bob'),
])

/** A directory with layers, certificates, and the options that serve them. */
async function setUp(t: Test) {
  const d = t.testdir({
    lower: { 'a.txt': 'hello' },
    upper: {},
    work: {},
    state: {},
    'ca.pem': authority.cert,
    'revoked.pem': await authority.revoke(),
  })
  const tls = writePair(d, 'server', good)
  const mount = `lowerdir=${d}/lower,upperdir=${d}/upper,workdir=${d}/work`
  const plain = ['-o', mount, ...freePorts(join(d, 'state')), '--nfs', 'off', ...AS_SERVER]
  return { d, plain, options: [...plain, '--tls', tls], clients: ['--tls-client-ca', join(d, 'ca.pem')] }
}

function portOf({ webdavUrl }: Running): number {
  return Number(new URL(webdavUrl as string).port)
}

/** GET of a.txt: the status and the body, or the code of the error. */
function get(port: number, more: ConnectionOptions & { agent?: Agent } = {}): Promise<string> {
  return new Promise((resolve) => {
    const asked = request(
      { host: '127.0.0.1', port, path: '/overlay/a.txt', ca: authority.cert, agent: false, ...more },
      (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text) => {
          body += text
        })
        response.on('end', () => resolve(`${response.statusCode} ${body}`))
        response.on('error', (error) => resolve(String((error as NodeJS.ErrnoException).code)))
      },
    )
    asked.on('error', (error) => resolve(String((error as NodeJS.ErrnoException).code)))
    asked.end()
  })
}

async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 20))
}

t.test('HTTPS on kept connections, pipelined too; the start lines and the status say so', async (t) => {
  const { d, options } = await setUp(t)
  const server = await start(t, options)
  const port = portOf(server)
  t.match(server.webdavUrl, /^https:\/\/127\.0\.0\.1:\d+\/overlay\/$/)
  t.match(
    server.stdout(),
    /TLS certificate: CN=localhost, valid to 20..-..-.., SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}\n/,
  )
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let i = 0; i < 5; i++) t.equal(await get(port, { agent }), '200 hello')
  agent.destroy()

  const socket = connectTls({ port, host: '127.0.0.1', ca: authority.cert })
  let answer = ''
  socket.setEncoding('latin1').on('data', (text) => {
    answer += text
  })
  const get1 = 'GET /overlay/a.txt HTTP/1.1\r\nHost: localhost\r\n'
  socket.write(`${get1}\r\n${get1}\r\n${get1}Connection: close\r\n\r\n`)
  await once(socket, 'close')
  t.equal(answer.split('hello').length, 4, 'three answers')

  const status = await run(['status', '--json', '--state-dir', join(d, 'state')])
  const [{ doors, http }] = JSON.parse(status.stdout)
  t.match(doors.webdav.url, /^https:/)
  t.match(http.tls, { secured: 2, handshakesFailed: 0 })
  t.match(http, { connections: 2, requests: 8 })
  t.equal(await server.stop(), 0)
})

t.test('old versions, other protocols and clear text are refused', async (t) => {
  const { options } = await setUp(t)
  const port = portOf(await start(t, options))
  const old = { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  t.equal(await get(port, old), 'EPROTO')
  t.equal(await get(port, { maxVersion: 'TLSv1.2' }), '200 hello')
  t.equal(await get(port, { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' }), 'EPROTO')
  t.equal(await get(port, { ALPNProtocols: ['h2'] }), 'EPROTO')
  t.equal(await get(port, { ca: other.cert }), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  const plain = connect(port, '127.0.0.1')
  plain.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  let said = ''
  plain.on('data', (chunk) => {
    said += chunk
  })
  await once(plain, 'close')
  t.match(said, /^HTTP\/1\.1 400 .*This port speaks TLS only; use https/s)
})

t.test('client certificates: asked for, required, and those of others', async (t) => {
  const { options, clients } = await setUp(t)
  const late = await authority.client('user', 'late', EXPIRED)
  const foreign = await other.client('user', 'alice')
  for (const policy of ['request', 'require']) {
    const server = await start(t, [...options, ...clients, '--tls-clients', policy])
    const port = portOf(server)
    t.match(server.stdout(), policy === 'require' ? /Clients need a certificate of CN=Test/ : /Clients may have a cert/)
    t.equal(await get(port, alice), '200 hello', policy)
    if (policy === 'request') t.equal(await get(port), '200 hello')
    else t.not(await get(port), '200 hello', 'none')
    for (const [name, pair] of Object.entries({ late, foreign, authority: authority.issued, server: good }))
      t.not(await get(port, pair), '200 hello', `${policy} ${name}`)
    await server.stop()
  }
})

t.test('beyond loopback a login is needed, or a certificate from everybody', async (t) => {
  const { plain, options, clients } = await setUp(t)
  const open = ['--webdav', '0.0.0.0:0']
  for (const wrong of [
    [...plain, ...open],
    [...options, ...open],
    [...options, ...clients, ...open],
  ]) {
    const { status, stderr } = await run(wrong)
    t.equal(status, 2)
    t.match(stderr, /--webdav: 0\.0\.0\.0 can be reached .*--tls-clients require, or add --insecure-no-auth/)
  }
  const server = await start(t, [...options, ...clients, ...open, '--tls-clients', 'require'])
  t.equal(await get(portOf(server), alice), '200 hello')
  for (const [extra, message] of [
    [['--tls-clients', 'require'], /--tls-clients: require needs .*add --tls-client-ca/],
    [['--tls-revoked', '/x'], /--tls-revoked: .*add --tls-client-ca/],
    [['--tls', 'a,b,c'], /--tls: "a,b,c" does not name a certificate/],
    [['--tls-clients', 'maybe'], /--tls-clients: "maybe" is no policy; use request or require/],
  ] as const) {
    const { status, stderr } = await run([...options, ...extra])
    t.equal(status, 2)
    t.match(stderr, message)
  }
  t.match(
    (await run([...plain, ...clients])).stderr,
    /--tls-client-ca: requires a certificate of the server; add --tls/,
  )
})

t.test('a changed certificate is used within a second; a bad pair changes nothing and is reported', async (t) => {
  const { d, options } = await setUp(t)
  const server = await start(t, options)
  const port = portOf(server)
  const serialOf = async () => {
    const socket = connectTls({ port, host: '127.0.0.1', ca: authority.cert })
    await once(socket, 'secureConnect')
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber.toLowerCase()
  }
  const kept = connectTls({ port, host: '127.0.0.1', ca: authority.cert })
  await once(kept, 'secureConnect')
  t.equal(await serialOf(), good.serial)
  writeFileSync(join(d, 'server.pem'), renewed.cert)
  await until(() => server.stderr().includes('earlier certificates stay in use'))
  t.match(server.stderr(), /server\.key does not belong to the certificate/)
  t.equal(await serialOf(), good.serial)
  writeFileSync(join(d, 'new.key'), renewed.key)
  renameSync(join(d, 'new.key'), join(d, 'server.key'))
  await until(() => server.stderr().includes('read again'))
  t.equal(await serialOf(), renewed.serial)
  kept.write('GET /overlay/a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  const [answer] = await once(kept, 'data')
  t.match(String(answer), /200 OK/, 'open connections go on')
  cpSync(join(d, 'ca.pem'), join(d, 'server.pem'))
  await until(() => /starts with the certificate of an authority/.test(server.stderr()))
  t.equal(await get(port), '200 hello')
})

t.test('a revoked certificate loses its connections within a second, and gets no new one', async (t) => {
  const { d, options, clients } = await setUp(t)
  const revoked = join(d, 'revoked.pem')
  const server = await start(t, [...options, ...clients, '--tls-revoked', revoked])
  const port = portOf(server)
  const all = await Promise.all(
    [alice, bob].map(async (pair) => {
      const socket = connectTls({ port, host: '127.0.0.1', ca: authority.cert, ...pair })
      // TLS 1.3: a ticket with which a session could go on without showing a certificate.
      const [[session]] = await Promise.all([once(socket, 'session'), once(socket, 'secureConnect')])
      return { socket, session: session as Buffer }
    }),
  )
  const { socket: hers, session } = all[0] as (typeof all)[number]
  const begun = performance.now()
  const closed = once(hers, 'close').then(() => performance.now() - begun)
  hers.on('error', () => undefined)
  writeFileSync(join(d, 'next.pem'), await authority.revoke(alice))
  renameSync(join(d, 'next.pem'), revoked)
  const ms = await closed
  t.ok(ms < 5000, `${Math.round(ms)} ms`)
  t.comment(`closed after ${Math.round(ms)} ms`)
  t.not(await get(port, alice), '200 hello')
  t.not(await get(port, { ...alice, session }), '200 hello', 'with a session of before')
  t.equal(await get(port, bob), '200 hello')
  t.notOk(all[1]?.socket.destroyed)
})

t.test('handshakes that never end are closed, and do not keep others out', async (t) => {
  const { options } = await setUp(t)
  const port = portOf(await start(t, options))
  const hello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])
  const idle: Socket[] = []
  let gone = 0
  for (let i = 0; i < 1500; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.on('close', () => gone++)
    if (i % 2 === 0) socket.write(hello)
    idle.push(socket)
  }
  t.teardown(() => idle.forEach((socket) => void socket.destroy()))
  t.equal(await get(port), '200 hello', 'while they are there')
  await until(() => gone > 0)
  t.equal(await get(port), '200 hello')
  await until(() => gone === idle.length)
  t.pass('all are gone without having sent anything more')
})
