import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import * as ldapts from 'ldapts'
import t, { type Test } from 'tap'
import { FairTurns } from '../../../overlay-core/index.ts'
import { isBelow, parseName } from '../../../server/login/ldap/distinguished-name.ts'
import { FilterPattern } from '../../../server/login/ldap/filter-pattern.ts'
import { isOneMessage, LdapConnection } from '../../../server/login/ldap/ldap-connection.ts'

/** The answer to StartTLS, which is message 2 of the library: success. */
const STARTED = Buffer.from('300c02010278070a010004000400', 'hex')

/** A server that gives these answers, one to each message, and what it was sent. */
async function server(t: Test, ...answers: readonly Uint8Array[]) {
  const received: Buffer[] = []
  const sockets = new Set<Socket>()
  const listener = createServer((socket) => {
    const left = [...answers]
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      received.push(chunk)
      const answer = left.shift()
      if (answer !== undefined) socket.write(answer)
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  const { port } = listener.address() as { port: number }
  return { received, sockets, address: { host: '127.0.0.1', port, ca: undefined, timeoutMs: 1000 } }
}

t.test('what comes before encryption is not taken for a part of what comes after', async (t) => {
  // The beginning of an answer "this is the password", which the first encrypted bytes would complete.
  const prefix = Buffer.from('301002010361', 'hex')
  const { address } = await server(t, Buffer.concat([STARTED, prefix]))
  await t.rejects(LdapConnection.open(ldapts, { ...address, encryption: 'starttls' }), /said too much/)
})

t.test('a server without StartTLS, and one that falls silent, get no password', async (t) => {
  const refused = Buffer.from(STARTED)
  refused[9] = 2
  for (const answers of [[refused], [STARTED], []]) {
    const { address, received } = await server(t, ...answers)
    await t.rejects(LdapConnection.open(ldapts, { ...address, encryption: 'starttls' }))
    t.equal(received[0]?.includes('1.3.6.1.4.1.1466.20037'), true)
    t.ok(received.length <= 2 && (received[1]?.[0] ?? 0x16) === 0x16, 'only a TLS handshake')
  }
})

t.test('a connection that was lost is not made again', async (t) => {
  const { address, sockets, received } = await server(t)
  const connection = await LdapConnection.open(ldapts, { ...address, encryption: 'none' })
  await t.rejects(connection.bind('cn=x', 'first'), /timed out/)
  t.equal(connection.usable, false)
  await t.rejects(connection.bind('cn=x', 'second'), /lost/)
  t.equal(sockets.size, 1)
  t.notMatch(Buffer.concat(received).toString('latin1'), /second/)
})

t.test('a bind without a name or a password is none', async (t) => {
  const { address, received } = await server(t)
  const connection = await LdapConnection.open(ldapts, { ...address, encryption: 'none' })
  await t.rejects(connection.bind('cn=x', ''), /needs a name and a password/)
  await t.rejects(connection.bind('', 'x'), /needs a name and a password/)
  t.same(received, [])
  connection.close()
})

t.test('one message', async (t) => {
  t.equal(isOneMessage(STARTED), true)
  t.equal(isOneMessage(STARTED.subarray(1)), false)
  t.equal(isOneMessage(STARTED.subarray(0, -1)), false)
  t.equal(isOneMessage(Buffer.concat([STARTED, STARTED])), false)
  t.equal(isOneMessage(Buffer.from([0x30, 0x82, 0, 2, 1, 1])), true)
  t.equal(isOneMessage(Buffer.from([0x30, 0x80])), false)
  t.equal(isOneMessage(Buffer.alloc(0)), false)
})

t.test('a name replaces the placeholder as it is, in every kind of filter', async (t) => {
  const value = `*)(|(uid=*\\2a {dn}`
  const pattern = new FilterPattern(
    ldapts,
    '(&(objectClass=person)(!(a>={user}))(|(uid={user})(mail={user}@*)(:1.2.3:={dn})))',
  )
  const filter = pattern.with({ user: value, dn: 'cn=\\2a' }) as ldapts.AndFilter
  const [, not, or] = filter.filters as [unknown, ldapts.NotFilter, ldapts.OrFilter]
  t.equal((not.filter as ldapts.GreaterThanEqualsFilter).value, value)
  t.match(or.filters, [{ value }, { initial: `${value}@`, final: '' }, { value: 'cn=\\2a' }])
  const writer = new ldapts.BerWriter()
  filter.write(writer)
  t.ok(writer.buffer.includes(Buffer.concat([Buffer.from([4, value.length]), Buffer.from(value)])), 'with its length')
  t.throws(() => new FilterPattern(ldapts, '(uid{user})'))
})

t.test('distinguished names', async (t) => {
  const leaf = (text: string) => parseName(text)?.[0]?.[0]
  t.same(leaf('CN=tea\\, cher,dc=x'), { type: 'cn', value: 'tea, cher' })
  t.same(leaf('cn= a\\20 + uid=b , dc=x'), { type: 'cn', value: 'a ' })
  t.same(leaf('cn=\\c3\\a4ä\\\\,dc=x'), { type: 'cn', value: 'ää\\' })
  for (const text of ['x', 'cn', 'cn="a"', 'cn=a\\', 'cn=a,', ',cn=a', 'cn=a\\zz', '=a'])
    t.equal(parseName(text), undefined, text)
  const below = (name: string, base: string) => isBelow(parseName(name)!, parseName(base)!)
  t.equal(below('cn=a,ou=Groups,DC=x', 'OU=groups, dc=X'), true)
  t.equal(below('ou=groups,dc=x', 'ou=groups,dc=x'), false)
  t.equal(below('cn=a\\,ou=groups,dc=x', 'ou=groups,dc=x'), false)
  t.equal(below('cn=a,ou=groups\\,dc=x', 'ou=groups,dc=x'), false)
  t.equal(below('cn=a,ou=groups,dc=x,dc=y', 'ou=groups,dc=x'), false)
})

t.test('clients take turns, and not too many wait', async (t) => {
  const turns = new FairTurns(1, 3)
  const done: string[] = []
  let start: () => void = () => undefined
  const held = turns.run('a', () => new Promise<void>((resolve) => (start = resolve)))
  const rest = ['a1', 'a2', 'b1'].map((name) => turns.run(name[0] as string, async () => void done.push(name)))
  await t.rejects(
    turns.run('c', async () => undefined),
    /too many/,
  )
  start()
  await Promise.all([held, ...rest])
  t.same(done, ['a1', 'b1', 'a2'])
  t.equal(await turns.run('c', async () => 'next'), 'next')
})
