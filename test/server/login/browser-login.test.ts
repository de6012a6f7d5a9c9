import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { BrowserLogin, type BrowserLoginParts, pathOf } from '../../../server/login/browser-login.ts'
import { type Login, Sealer, Sessions } from '../../../server/login/index.ts'
import { CodeFlow, type CodeFlowParts } from '../../../server/login/oidc/code-flow.ts'
import { Provider } from '../../../server/login/oidc/provider.ts'
import { startProvider } from '../../helpers/openid-provider.ts'

t.test('after a login a browser is only sent to paths of this server', async (t) => {
  const back = (to: string) => pathOf(`?to=${encodeURIComponent(to)}`)
  for (const to of ['/', '/course/sub/?a=b', '/~x/%20']) t.equal(back(to), to)
  for (const to of ['//evil', '/\\evil', '/a\\b', 'https://evil', 'evil', '', '/a\r\nx: y', '/a b', '/\t/evil'])
    t.equal(back(to), '/', to)
  t.equal(pathOf(''), '/')
  t.equal(back(`/${'x'.repeat(2047)}`).length, 2048)
  t.equal(back(`/${'x'.repeat(2048)}`), '/', 'a longer path has no room in the cookie')
})

/** The flow at a provider that a test starts, and its clock. */
async function flowAt(t: Test) {
  const provider = await startProvider(t)
  const clock = { nowMs: 0 }
  const settings = {
    ...{ issuer: provider.issuer, clientId: 'overlayd', scopes: ['openid'], clockSkewSec: 5 },
    providerLogout: true,
  } as unknown as CodeFlowParts['settings']
  const parts = { settings, log: pino({ level: 'silent' }) }
  const now = () => clock.nowMs
  const sealer = new Sealer(randomBytes(32), randomBytes)
  const users = {} as CodeFlowParts['users']
  const found = new Provider({ ...parts, now })
  const other = (more: Partial<CodeFlowParts['settings']>) =>
    new CodeFlow({ ...parts, settings: { ...settings, ...more }, provider: found, users, sealer, now })
  return { provider, clock, now, other, flow: other({}) }
}

t.test('a provider that goes down is noticed in half a minute, also if it was found before', async (t) => {
  const { provider, clock, flow } = await flowAt(t)
  t.equal(await flow.isUp(), true)
  provider.mode = 'down'
  clock.nowMs += 29_999
  t.equal(await flow.isUp(), true)
  clock.nowMs += 1
  t.equal(await flow.isUp(), false)
  t.match((await flow.begin('https://files.example.org', '/')).url, provider.issuer, 'what is known of it is kept')
  provider.mode = 'up'
  t.equal(await flow.isUp(), false, 'it is left alone for a little')
  clock.nowMs += 3000
  t.equal(await flow.isUp(), true)
})

t.test(
  'a browser is sent to the provider to log out, if that is wanted and the provider offers it and answers',
  async (t) => {
    const { provider, clock, flow, other } = await flowAt(t)
    const url = new URL((await flow.logoutUrl('https://files.example.org', 'ID-TOKEN')) as string)
    t.equal(url.origin, provider.issuer)
    t.same(Object.fromEntries(url.searchParams), {
      client_id: 'overlayd',
      id_token_hint: 'ID-TOKEN',
      post_logout_redirect_uri: 'https://files.example.org/-/logout/done',
    })
    t.notMatch(await flow.logoutUrl('https://files.example.org', undefined), 'id_token_hint')
    t.equal(await other({ providerLogout: false }).logoutUrl('https://files.example.org', 'ID-TOKEN'), undefined)
    provider.mode = 'down'
    clock.nowMs += 30_000
    t.equal(await flow.logoutUrl('https://files.example.org', 'ID-TOKEN'), undefined, 'it stays here')
  },
)

t.test(
  'with TLS the cookies are for this host and for TLS only, and every login has a session of its own',
  async (t) => {
    const { flow, now } = await flowAt(t)
    const sessions = new Sessions({ now, random: randomBytes })
    const login = { prove: async () => ({ user: { name: 'alice' } }) } as unknown as Login
    const parts: BrowserLoginParts = {
      ...{ flow, sessions, login, sessionMs: 60_000 },
      clientOf: () => '127.0.0.1',
      isPrivate: () => true,
      originOf: () => 'https://files.example.org',
    }
    const browsers = new BrowserLogin(parts)
    const request = (cookie?: string) => ({ method: 'GET', headers: { cookie } }) as unknown as IncomingMessage
    const begun = String((await browsers.begin(request(), '?to=%2Fcourse%2F')).headers['set-cookie'])
    t.match(begun, /^__Host-overlayd-login=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600; Secure$/)
    const fixed = sessions.begin('mallory', 60_000)
    const pending = begun.split(';')[0] as string
    const ended = await browsers.finish(request(`${pending}; __Host-overlayd-session=${fixed}`), '?code=x')
    t.match(ended, { status: 302, headers: { location: '/course/' } })
    const [session = '', gone = ''] = ended.headers['set-cookie'] as string[]
    t.match(session, /^__Host-overlayd-session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=60; Secure$/)
    t.match(gone, /^__Host-overlayd-login=; .*Max-Age=0; Secure$/)
    t.notMatch(session, fixed, 'not the one that the browser came with')
    t.equal(sessions.userOf(fixed), undefined, 'which has ended')
    const [cookie = ''] = session.split(';')
    t.equal(browsers.userOf(request(cookie)), 'alice')
    t.equal(browsers.userOf(request(cookie.replace('__Host-', ''))), undefined, 'the cookie of an http page is none')
    const other = new BrowserLogin({ ...parts, isPrivate: () => false })
    t.equal((await other.begin(request(), '')).status, 403)
    t.equal((await other.finish(request(pending), '?code=x')).status, 403)
  },
)

t.test('what is sealed can be neither read nor changed', async (t) => {
  const sealer = new Sealer(randomBytes(32), randomBytes)
  const sealed = sealer.seal('secret words')
  t.equal(sealer.open(sealed), 'secret words')
  t.notMatch(Buffer.from(sealed, 'base64url').toString('latin1'), /secret/)
  t.not(sealer.seal('secret words'), sealed)
  const bytes = Buffer.from(sealed, 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 1
    t.equal(sealer.open(changed.toString('base64url')), undefined)
  }
  for (const none of ['', 'x', sealed.slice(0, -4)]) t.equal(sealer.open(none), undefined)
  t.equal(new Sealer(randomBytes(32), randomBytes).open(sealed), undefined, 'of another run')
})

t.test('a session ends by itself, by a logout, and if there are too many', async (t) => {
  let nowMs = 0
  const sessions = new Sessions({ now: () => nowMs, random: randomBytes })
  const [first, second] = [sessions.begin('alice', 1000, 'the ID token'), sessions.begin('alice', 1000)]
  t.equal(sessions.userOf(first), 'alice')
  t.equal(sessions.end(first), 'the ID token')
  t.equal(sessions.end(first), undefined, 'which is forgotten with it')
  t.equal(sessions.userOf(first), undefined)
  t.equal(sessions.userOf(second), 'alice')
  nowMs = 1000
  t.equal(sessions.userOf(second), undefined)
  const oldest = sessions.begin('bob', 1000)
  for (let i = 0; i < 10_000; i++) sessions.begin('eve', 1000)
  t.equal(sessions.userOf(oldest), undefined)
  sessions.endAll()
  t.equal(sessions.userOf(sessions.begin('eve', 1000)), 'eve')
})

t.test('ID tokens of sessions take a bounded memory; a session without one is a session', async (t) => {
  const sessions = new Sessions({ now: () => 0, random: randomBytes })
  const long = sessions.begin('alice', 1000, 'x'.repeat(8193))
  const first = sessions.begin('alice', 1000, 'x'.repeat(8192))
  for (let i = 0; i < 1024; i++) sessions.begin('alice', 1000, 'x'.repeat(8192))
  for (const id of [long, first]) {
    t.equal(sessions.userOf(id), 'alice')
    t.equal(sessions.end(id), undefined)
  }
})
