import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import t, { type Test } from 'tap'
import { newHash } from '../../../server/login/index.ts'
import { type OpenIdProvider, startProvider } from '../../helpers/openid-provider.ts'
import { AS_ROOT, course } from '../course.ts'

t.setTimeout(300_000)

/** A course whose users come from a provider and a password file. */
async function classroom(t: Test, provider: OpenIdProvider, lines = '', dir?: string) {
  const tables = `
[login]
sources = ["file", "oidc"]
password_file = "users"
ids = ["100000-199999"]
readers = ["@readers"]
audit_file = "audit"
[oidc]
issuer = "${provider.issuer}"
audiences = ["overlayd"]
clock_skew = 5
${lines}`
  const prepare = (at: string) =>
    writeFileSync(join(at, 'users'), `local:${newHash('pw-local', Buffer.alloc(16, 1))}\n`, { mode: 0o600 })
  const made = await course(t, { more: 'create = true\nowners = ["@staff"]', tables, prepare, ...(dir && { dir }) })
  const get = (token: string, path = '/course/welcome.txt', method = 'GET') =>
    made.dav(method, path, { headers: { authorization: `Bearer ${token}` } })
  const status = async (...asked: Parameters<typeof get>) => (await get(...asked)).status
  return { ...made, get, status }
}

t.test('a token of the provider shows the view of its user, with its groups', AS_ROOT, async (t) => {
  const provider = await startProvider(t)
  const { dav, get, status } = await classroom(t, provider)
  const alice = await provider.sign()
  const put = { body: 'of alice', headers: { authorization: `Bearer ${alice}` } }
  t.match(await dav('PUT', '/course/mine', put), { status: 201 })
  t.match(await get(alice, '/course/mine'), { status: 200, body: 'of alice' })
  const bob = await provider.sign({ preferred_username: 'bob' })
  t.equal(await status(bob, '/course/mine'), 404)
  t.equal(await status(bob, '/course/~alice/mine'), 404)
  t.equal(
    await status(await provider.sign({ preferred_username: 'eve', groups: ['staff'] }), '/course/~alice/mine'),
    200,
  )
  const rita = await provider.sign({ preferred_username: 'rita', groups: ['readers'] })
  t.equal(await status(rita, '/course/welcome.txt'), 200)
  t.equal(await status(rita, '/course/new', 'PUT'), 403)
  const bare = await provider.sign({ preferred_username: 'rita', aud: ['other', 'overlayd'] })
  t.equal(await status(bare, '/course/new', 'PUT'), 403, 'a token without groups takes none away')
  t.equal(provider.keyFetches(), 1)
})

t.test('tokens that are not of the provider, not for this server or not valid now are refused', AS_ROOT, async (t) => {
  const provider = await startProvider(t)
  const { get, server, dir } = await classroom(t, provider)
  const now = Math.floor(Date.now() / 1000)
  const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const claims: JWTPayload = { iss: provider.issuer, aud: 'overlayd', preferred_username: 'alice', exp: now + 300 }
  const signed = (key: Parameters<SignJWT['sign']>[0], alg: string, more: JWTPayload = {}) =>
    new SignJWT({ ...claims, ...more }).setProtectedHeader({ alg, kid: 'key-1' }).sign(key)
  const sound = await provider.sign()
  const [head, body, signature] = sound.split('.') as [string, string, string]
  const forged = Buffer.from(JSON.stringify({ ...claims, preferred_username: 'eve' })).toString('base64url')
  const refused: Record<string, string> = {
    none: new UnsecuredJWT(claims).encode(),
    'none in capitals': `${Buffer.from('{"alg":"NONE"}').toString('base64url')}.${body}.`,
    'a shared secret': await signed(new TextEncoder().encode('x'.repeat(32)), 'HS256'),
    'another key': await signed(foreign.privateKey, 'RS256'),
    'another issuer': await provider.sign({ iss: 'https://evil.example.org' }),
    'another audience': await provider.sign({ aud: 'other' }),
    'no audience': await provider.sign({ aud: [] }),
    expired: await provider.sign({ exp: now - 60 }),
    'no end': await provider.sign({ exp: undefined }),
    'not yet': await provider.sign({ nbf: now + 60 }),
    'an unknown key': await provider.sign({}, { kid: 'key-2' }),
    'no user': await provider.sign({ preferred_username: undefined }),
    'a user that is no text': await provider.sign({ preferred_username: ['alice'] }),
    'a name that none may have': await provider.sign({ preferred_username: '../alice' }),
    root: await provider.sign({ preferred_username: 'root' }),
    'groups that are no texts': await provider.sign({ groups: [{ name: 'staff' }] }),
    'another payload': `${head}.${forged}.${signature}`,
    'no signature': `${head}.${body}.`,
    'half a token': `${head}.${body}`,
    'no token': 'x',
  }
  for (const [what, token] of Object.entries(refused)) {
    const answer = await get(token)
    t.match(answer.headers['www-authenticate'], /^Bearer .*invalid_token/, what)
    t.equal(answer.status, 401, what)
    if (Object.keys(refused).indexOf(what) % 15 === 14) await new Promise((resolve) => setTimeout(resolve, 20_000))
  }
  t.equal((await get(sound)).status, 200)
  await server.stop()
  for (const text of [server.stderr(), readFileSync(join(dir, 'audit'), 'utf8')]) t.notMatch(text, signature)
})

t.test('clocks may differ by the skew, and a token is not believed longer than it lasts', AS_ROOT, async (t) => {
  const provider = await startProvider(t)
  const { status } = await classroom(t, provider)
  const now = Math.floor(Date.now() / 1000)
  const ending = await provider.sign({ exp: now - 1, nbf: now + 2 })
  t.equal(await status(ending), 200)
  while (Date.now() < (now + 5) * 1000) await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(await status(ending), 401, 'although it was verified less than a minute ago')
})

t.test('a flood of tokens with unknown keys fetches the keys rarely', AS_ROOT, async (t) => {
  const provider = await startProvider(t)
  const { status } = await classroom(t, provider)
  const sound = await provider.sign()
  t.equal(await status(sound), 200)
  const flood = Array.from({ length: 50 }, async (_, i) => status(await provider.sign({}, { kid: `unknown-${i}` })))
  const seen = new Set(await Promise.all(flood))
  t.same(
    [...seen].filter((code) => code !== 401 && code !== 429),
    [],
  )
  t.ok(provider.keyFetches() <= 2, `${provider.keyFetches()} fetches`)
  t.equal(await status(sound), 200, 'a token that was verified before')
})

t.test('a provider that is down or slow: others log in, its users are asked to come again', AS_ROOT, async (t) => {
  const provider = await startProvider(t)
  const { dav, get, status } = await classroom(t, provider)
  const local = { headers: { authorization: `Basic ${Buffer.from('local:pw-local').toString('base64')}` } }
  for (const mode of ['down', 'slow'] as const) {
    provider.mode = mode
    const [answer, other] = await Promise.all([get(await provider.sign()), dav('GET', '/course/welcome.txt', local)])
    t.match(answer, { status: 503, headers: { 'retry-after': /^\d+$/ } }, mode)
    t.equal(other.status, 200)
    await new Promise((resolve) => setTimeout(resolve, 3100))
  }
  provider.mode = 'up'
  const token = await provider.sign()
  t.equal(await status(token), 200)
  provider.mode = 'down'
  t.equal(await status(await provider.sign({ preferred_username: 'bob' })), 200, 'its keys are known')
})

t.test('an earlier source keeps its names, and users are known after a restart', AS_ROOT, async (t) => {
  const provider = await startProvider(t)
  const first = await classroom(t, provider)
  const rita = await provider.sign({ preferred_username: 'rita', groups: ['readers'] })
  t.equal(await first.status(rita), 200)
  const mine = await first.get(
    await provider.sign({ preferred_username: 'local', groups: ['readers'] }),
    '/course/x',
    'PUT',
  )
  t.equal(mine.status, 201, 'the account of the file, which is in no group')
  await first.server.stop()
  const second = await classroom(t, provider, '', first.dir)
  const bare = await provider.sign({ preferred_username: 'rita' })
  t.equal(await second.status(bare, '/course/new', 'PUT'), 403)
})
