import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { newHash } from '../../server/login/index.ts'
import { CLIENT_SECRET, startProvider } from '../helpers/openid-provider.ts'
import { configuration, course } from '../server/course.ts'
import { run } from '../server/launch.ts'
import { openChromium } from './helpers/chromium.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
const provider = await startProvider(t, { rita: ['readers'] })
const tables = `
[login]
sources = ["file", "oidc"]
password_file = "users"
ids = ["100000-199999"]
readers = ["@readers"]
[oidc]
issuer = "${provider.issuer}"
client_id = "overlayd"
client_secret_file = "client-secret"
audiences = ["overlayd"]
`
const { dir, server, dav } = await course(t, {
  tables,
  prepare: (dir) => {
    writeFileSync(join(dir, 'users'), `local:${newHash('pw-local', Buffer.alloc(16, 1))}\n`, { mode: 0o600 })
    writeFileSync(join(dir, 'client-secret'), CLIENT_SECRET, { mode: 0o600 })
  },
})
const url = server.webdavUrl as string
const { origin } = new URL(url)
provider.allow(`${origin}/-/login/callback`, `${origin}/-/logout/done`)
const tab = await openChromium(scratch)

/** Types a name into the pages of the provider, and agrees. */
async function logInAs(name: string): Promise<void> {
  await tab.until(`document.querySelector('input[name=login]')`)
  await tab.run(`document.querySelector('input[name=login]').value = ${JSON.stringify(name)}`)
  await tab.run(`document.querySelector('input[name=password]').value = 'any'`)
  await tab.run(`document.querySelector('form').submit()`)
  await tab.until(`document.body.innerText.includes('Authorize')`)
  await tab.run(`document.querySelector('form').submit()`)
}

const NAVIGATE = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' }

t.test('Chromium logs in at the provider and comes back to the page that it asked for', async (t) => {
  await tab.run(`void (location.href = '${url}sub/')`)
  await logInAs('alice')
  await tab.until(`location.href === '${url}sub/' && document.body?.dataset.ready !== undefined`)
  t.match(await tab.run('document.body.innerText'), 'a.txt')
  t.equal(await tab.run('document.cookie'), '', 'scripts cannot read the session')
  t.equal(await tab.run(`fetch('${url}mine', { method: 'PUT', body: 'x' }).then(({ status }) => status)`), 201)
  const token = { headers: { authorization: `Bearer ${await provider.sign()}` } }
  t.match(await dav('GET', '/course/mine', token), { status: 200, body: 'x' }, 'it is the view of alice')
})

/** Presses a button, and says yes when the provider asks. */
async function logOut(): Promise<void> {
  await tab.click('#logout')
  await tab.until(`document.querySelector('button[name=logout]')`)
  await tab.run(`document.querySelector('button[name=logout]').click()`)
  await tab.until(`location.href === '${origin}/-/logout/done' && document.body.innerText.includes('logged out')`)
}

t.test('the button to log out ends the session, and the login at the provider', async (t) => {
  await tab.open(url)
  const begun = provider.loginsBegun()
  await tab.open(`${url}sub/`)
  t.equal(provider.loginsBegun(), begun, 'a session needs no further login')
  t.equal(await tab.run(`document.querySelector('.account .user').textContent`), 'alice')
  const cookie = (await tab.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ')
  await logOut()
  t.equal(provider.loginsBegun(), begun)
  t.match(
    await dav('GET', '/course/', { headers: { cookie } }),
    {
      status: 401,
      headers: { 'www-authenticate': /^Basic/ },
    },
    'the session is gone',
  )
  t.match(
    await dav('GET', '/course/', { headers: { cookie, 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' } }),
    {
      status: 401,
      headers: { 'www-authenticate': /^Session/ },
      body: /open the page again/,
    },
    'a script of a page tells its user',
  )
  await tab.click('a[href="/"]')
  await logInAs('alice')
  await tab.until(`location.href === '${origin}/' && document.body?.dataset.ready !== undefined`)
  t.equal(provider.loginsBegun(), begun + 1, 'the provider asked again who it is')
  t.match(provider.logouts().at(-1), {
    client_id: 'overlayd',
    id_token_hint: /^ey/,
    post_logout_redirect_uri: `${origin}/-/logout/done`,
  })
  t.same(tab.complaints, [])
})

t.test('a session ends by its button only, not by a look at the page or by a foreign page', async (t) => {
  const cookie = (await tab.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ')
  const status = async () => (await dav('GET', '/course/', { headers: { cookie } })).status
  t.equal(await status(), 200)
  t.match(await dav('GET', '/-/logout', { headers: { cookie } }), { status: 200, body: /<button/ })
  const foreign = { cookie, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal((await dav('POST', '/-/logout', { headers: foreign })).status, 403)
  t.equal(await status(), 200)
  const ended = await dav('POST', '/-/logout', { headers: { cookie } })
  t.match(ended, { status: 200, body: /logged out here/ })
  t.match(ended.headers['set-cookie'], /^overlayd-session=; .*Max-Age=0/)
  t.equal(await status(), 401)
})

t.test('a navigation is sent to the provider with PKCE', async (t) => {
  const begun = await dav('GET', '/-/login?to=%2Fcourse%2F', { headers: NAVIGATE })
  t.equal(begun.status, 302)
  const asked = new URL(String(begun.headers.location))
  t.equal(asked.origin, provider.issuer)
  t.equal(asked.searchParams.get('code_challenge_method'), 'S256')
  t.equal(asked.searchParams.get('redirect_uri'), `${origin}/-/login/callback`)
  t.match(begun.headers['set-cookie'], /^overlayd-login=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/)
  const sent = await dav('GET', '/course/sub/?x', { headers: NAVIGATE })
  t.match(sent, { status: 302, headers: { location: `/-/login?to=${encodeURIComponent('/course/sub/?x')}` } })
  t.equal((await dav('GET', '/course/sub/')).status, 401, 'other clients are asked for a password')
  t.equal((await dav('PUT', '/course/x', { headers: NAVIGATE, body: 'x' })).status, 401)
})

t.test('a callback that does not belong to a login of this browser is refused', async (t) => {
  const begin = async () => {
    const { headers } = await dav('GET', '/-/login', { headers: NAVIGATE })
    const state = new URL(String(headers.location)).searchParams.get('state') as string
    return { state, cookie: String(headers['set-cookie']).split(';')[0] as string }
  }
  const [mine, other] = [await begin(), await begin()]
  const callback = async (query: string, cookie?: string) => {
    const answer = await dav('GET', `/-/login/callback?${query}`, {
      headers: { ...NAVIGATE, ...(cookie && { cookie }) },
    })
    t.notMatch(String(answer.headers['set-cookie']), /overlayd-session/, query)
    return answer.status
  }
  const iss = `iss=${encodeURIComponent(provider.issuer)}`
  t.equal(await callback(`code=x&state=${mine.state}&${iss}`), 400, 'no cookie')
  t.equal(await callback(`code=x&state=${mine.state}&${iss}`, `${mine.cookie.slice(0, -4)}AAAA`), 400, 'a changed one')
  t.equal(await callback(`code=x&state=${mine.state}&${iss}`, other.cookie), 403, 'another state')
  t.equal(await callback(`code=x&state=${mine.state}&iss=https%3A%2F%2Fevil`, mine.cookie), 403, 'another issuer')
  t.equal(await callback(`code=x&state=${mine.state}&${iss}`, mine.cookie), 403, 'a code that is none')
  t.equal(await callback(`error=access_denied&state=${mine.state}&${iss}`, mine.cookie), 403, 'a refusal')
  t.equal(await callback('', mine.cookie), 403)
})

t.test('a session that is none is no login, and a foreign page cannot use one', async (t) => {
  for (const value of ['', 'x', 'A'.repeat(43)])
    t.equal((await dav('GET', '/course/', { headers: { cookie: `overlayd-session=${value}` } })).status, 401)
  const foreign = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal((await dav('POST', '/-/logout', { headers: foreign })).status, 403)
})

t.test('a reader of the provider logs in, and while the provider is down others do', async (t) => {
  await tab.run(`void (location.href = '${provider.issuer}/session/end')`)
  await tab.until(`document.querySelector('button[name=logout]')`)
  await tab.run(`document.querySelector('button[name=logout]').click()`)
  await tab.until(`location.pathname.includes('success')`)
  await tab.run(`void (location.href = '${url}')`)
  await logInAs('rita')
  await tab.until(`location.href === '${url}' && document.body?.dataset.ready !== undefined`)
  t.equal(await tab.run(`fetch('${url}new', { method: 'PUT', body: 'x' }).then(({ status }) => status)`), 403)
  provider.mode = 'down'
  t.equal(await tab.run(`fetch('${url}').then(({ status }) => status)`), 200, 'a session goes on')
  const local = { authorization: `Basic ${Buffer.from('local:pw-local').toString('base64')}` }
  t.equal((await dav('GET', '/course/', { headers: { ...local, ...NAVIGATE } })).status, 200)
  provider.mode = 'up'
  await tab.run(`void (location.href = 'about:blank')`)
})

t.test('a reload keeps sessions, until another provider says who is who', async (t) => {
  await tab.open(url)
  const cookie = (await tab.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ')
  const status = async () => (await dav('GET', '/course/', { headers: { cookie } })).status
  t.equal(await status(), 200)
  const reload = async (changed: string) => {
    writeFileSync(join(dir, 'o.toml'), configuration({ tables: changed }))
    return await run(['reload', '--state-dir', join(dir, 'state')])
  }
  const other = tables.replace('audiences =', 'session = "1h"\nprovider_logout = false\naudiences =')
  t.match(await reload(other), { status: 0, stdout: 'applied: login\n' })
  t.equal(await status(), 200)
  const token = { headers: { authorization: `Bearer ${await provider.sign()}` } }
  t.equal((await dav('GET', '/course/', token)).status, 200)
  t.match(await reload(other.replace('["overlayd"]', '["other"]')), { stdout: 'applied: login\n' })
  t.equal((await dav('GET', '/course/', token)).status, 401, 'the token is for another audience')
  t.equal(await status(), 200)
  t.match(await dav('POST', '/-/logout', { headers: { cookie: 'overlayd-session=none' } }), { status: 401 })
  const second = await startProvider(t)
  t.match(await reload(other.replace(provider.issuer, second.issuer)), { stdout: 'applied: login\n' })
  t.equal(await status(), 401, 'a name there may be that of somebody else')
  const begun = await dav('GET', '/-/login', { headers: NAVIGATE })
  t.equal(new URL(String(begun.headers.location)).origin, second.issuer)
})
