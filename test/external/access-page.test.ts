import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { newHash } from '../../server/login/index.ts'
import { CLIENT_SECRET, startProvider } from '../helpers/openid-provider.ts'
import { course } from '../server/course.ts'
import { openChromium } from './helpers/chromium.ts'
import { makeScratch } from './helpers/scratch.ts'
import { quote } from './helpers/shell.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
/** With the variable set, pictures of the pages are kept there to be looked at. */
const pictures = process.env.PAGE_SCREENSHOTS ?? scratch.path
const EVIL = `<img src=x onerror="document.title='owned'">`
const provider = await startProvider(t)
const tables = `
[login]
sources = ["file", "oidc"]
password_file = "users"
ids = ["100000-199999"]
admins = ["adam"]
[oidc]
issuer = "${provider.issuer}"
client_id = "overlayd"
client_secret_file = "client-secret"
`
const { server, dav } = await course(t, {
  tables,
  prepare: (dir) => {
    const lines = ['local', 'adam'].map((name) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, 1))}\n`)
    writeFileSync(join(dir, 'users'), lines.join(''), { mode: 0o600 })
    writeFileSync(join(dir, 'client-secret'), CLIENT_SECRET, { mode: 0o600 })
  },
})
const url = server.webdavUrl as string
const { origin } = new URL(url)
const access = `${origin}/-/access`
provider.allow(`${origin}/-/login/callback`, `${origin}/-/logout/done`)
const tab = await openChromium(scratch)

const status = (words: string) => scratch.sh(`curl -sS -o /dev/null -w '%{http_code}' ${words}`)
const textIn = (id: string) => tab.run<string>(`document.getElementById('${id}').value`)
const set = (id: string, value: string) =>
  tab.run(`(() => {
    const field = document.getElementById('${id}')
    field.value = ${JSON.stringify(value)}
    field.dispatchEvent(new Event('change'))
  })()`)
const row = (name: string) => `tr[data-name=${JSON.stringify(name)}]`
const details = (name: string) =>
  tab.run<string[]>(
    `[...document.querySelector(${JSON.stringify(row(name))}).querySelectorAll('.detail')].map((cell) => cell.textContent)`,
  )
const opened = (title: string) =>
  tab.until(`document.querySelector('dialog[open] h2')?.textContent.includes(${JSON.stringify(title)})`)

async function logInAs(name: string): Promise<void> {
  await tab.until(`document.querySelector('input[name=login]')`)
  await tab.run(`document.querySelector('input[name=login]').value = ${JSON.stringify(name)}`)
  await tab.run(`document.querySelector('input[name=password]').value = 'any'`)
  await tab.run(`document.querySelector('form').submit()`)
  await tab.until(`document.body.innerText.includes('Authorize')`)
  await tab.run(`document.querySelector('form').submit()`)
}

/** Takes pictures of the page in light and dark, and on a phone, where nothing may be cut off. */
async function pictured(name: string): Promise<void> {
  await tab.screenshot(join(pictures, `${name}.png`))
  await tab.prefer('dark')
  await tab.screenshot(join(pictures, `${name}-dark.png`))
  await tab.prefer('light')
  await tab.resize(360, 740, true)
  t.equal(await tab.run('document.documentElement.scrollWidth <= 360'), true, `${name} fits a phone`)
  const small = await tab.run<string[]>(`[...document.querySelectorAll('button, .button, select, input')]
    .filter((element) => element.offsetParent !== null && element.getBoundingClientRect().height < 40 && element.closest('thead') === null)
    .map((element) => element.outerHTML)`)
  t.same(small, [], `${name} is for fingers`)
  await tab.screenshot(join(pictures, `${name}-phone.png`))
  await tab.resize(1200, 900, false)
}

await tab.resize(1200, 900, false)
await tab.run(`void (location.href = '${url}')`)
await logInAs('alice')
await tab.until(`location.href === '${url}' && document.body?.dataset.ready !== undefined`)

let secret = ''
t.test('a user makes an app password by keyboard, it is shown once, and curl uses it', async (t) => {
  await pictured('folder')
  await tab.run(`document.querySelector('.account a').focus()`)
  await tab.press('Enter')
  await tab.until(`location.href === '${access}' && document.body?.dataset.ready !== undefined`)
  t.equal(await tab.run(`document.querySelector('.empty').hidden`), false)
  await pictured('empty')
  await tab.run(`document.getElementById('new-password').focus()`)
  await tab.press('Enter')
  await opened('New app password')
  t.equal(await tab.run('document.activeElement.id'), 'token-name', 'the focus is in the first field')
  await tab.press('Enter')
  t.equal(await tab.run(`document.getElementById('token-name').validity.valueMissing`), true, 'a name is needed')
  await tab.type(`my laptop ${EVIL}`)
  await pictured('new-password')
  await tab.press('Enter')
  await opened('is made')
  secret = await textIn('secret')
  t.match(secret, /^ovl_[\w-]{32}$/)
  await pictured('made-password')
  await tab.click('dialog .beside button')
  await tab.until(`document.querySelector('dialog .beside button').textContent === 'Copied'`)
  await tab.run(`document.body.prepend(Object.assign(document.createElement('textarea'), { id: 'pasted' }))`)
  await tab.run(`document.querySelector('dialog').close()`)
  await tab.run(`document.getElementById('pasted').focus()`)
  await tab.paste()
  await tab.until(`document.getElementById('pasted').value !== ''`)
  t.equal(await textIn('pasted'), secret, 'it was copied')
  t.equal(await status(`-u alice:${secret} ${url}welcome.txt`), '200')
  t.equal(await status(`-u alice:${secret} -T - ${url}new < /dev/null`), '201')
  await tab.open(access)
  t.notMatch(await tab.run('document.documentElement.outerHTML'), secret.slice(4))
  t.same((await details(`my laptop ${EVIL}`)).toSpliced(2, 2), ['all views', 'read and change', 'yes'])
  t.not(await tab.run('document.title'), 'owned')
})

t.test('one that is limited to a folder and to reading opens no more; what to type in is right', async (t) => {
  await tab.click('#new-password')
  await opened('New app password')
  await set('token-name', 'phone')
  await set('token-view', 'course')
  await set('token-path', '/sub')
  await set('token-mode', 'read')
  await set('expires', '')
  await tab.press('Enter')
  await tab.click('dialog button.main')
  await opened('is made')
  const limited = await textIn('secret')
  const uses = await tab.run<string[]>(`[...document.querySelectorAll('dialog pre')].map((use) => use.textContent)`)
  t.equal(uses[1], `/mnt alice ${limited}\n\nmount -t davfs -o ro ${url}sub/ /mnt`)
  const [, , rclone = '', curl = ''] = uses
  t.match(await scratch.sh(`${curl}a.txt`), /^A/)
  const config = `RCLONE_CONFIG=${quote(join(scratch.path, 'rclone.conf'))}`
  await scratch.sh(`${config} ${rclone} > /dev/null`)
  t.equal(await scratch.sh(`${config} rclone cat course:a.txt`), 'A')
  t.equal(await status(`-u alice:${limited} ${url}welcome.txt`), '404')
  t.equal(await status(`-u alice:${limited} -X DELETE ${url}sub/a.txt`), '403')
  await tab.click('dialog .end button')
  await tab.until(`document.querySelector(${JSON.stringify(row('phone'))})`)
  t.same((await details('phone')).toSpliced(2, 1), ['/course/sub', 'read', 'never', 'not yet'])
})

t.test('a revoked one ends at once, an expired one is told', async (t) => {
  const made = await tab.run<{ secret: string }>(
    `fetch('/-/tokens', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: 'short', seconds: 1 }) }).then((made) => made.json())`,
  )
  await tab.click(`${row('phone')} .act button`)
  await opened('Revoke “phone”?')
  await pictured('revoke')
  await tab.press('Escape')
  await tab.until(`!document.querySelector('dialog')`)
  await tab.click(`tr[data-name^="my laptop"] .act button`)
  await opened('Revoke “my laptop')
  await tab.click('dialog .bad')
  await tab.until(`!document.querySelector('tr[data-name^="my laptop"]')`)
  t.equal(await status(`-u alice:${secret} ${url}welcome.txt`), '401')
  await pause(1100)
  await tab.open(access)
  t.equal((await details('short'))[3], 'expired')
  t.equal(await status(`-u alice:${made.secret} ${url}welcome.txt`), '401')
  await pictured('list')
})

let dropping = ''
t.test('a link for the folder is made in it, used without a login, and takes files without showing any', async (t) => {
  await tab.open(`${url}sub/`)
  await tab.click('#link')
  await opened('Link to sub')
  await set('token-name', 'homework')
  await set('token-mode', 'drop')
  await pictured('new-link')
  await tab.click('dialog button.main')
  await opened('The link “homework” is made')
  dropping = await textIn('secret')
  t.match(dropping, new RegExp(`^${origin}/~[\\w-]{32}/$`))
  await pictured('made-link')
  const cookies = await tab.cookies()
  await tab.forgetCookies()
  await tab.open(dropping)
  t.notMatch(await tab.run('document.body.innerText'), /a\.txt|course|alice|sub/)
  await pictured('drop')
  const [essay, other] = ['essay.txt', 'a.txt'].map((name) => join(scratch.path, name)) as [string, string]
  writeFileSync(essay, 'my essay')
  writeFileSync(other, 'not this')
  await tab.choose('#files', [essay, other])
  await tab.until(
    `[...document.querySelectorAll('#uploads .state')].every(({ textContent }) => /received|rename/.test(textContent))`,
  )
  t.same(await tab.run(`[...document.querySelectorAll('#uploads .state')].map((state) => state.textContent)`), [
    'received',
    'not sent: there is a file of this name already, so rename yours',
  ])
  await pictured('dropped')
  for (const { name, value } of cookies)
    await tab.run(`void (document.cookie = ${JSON.stringify(`${name}=${value}; path=/`)})`)
  await tab.open(`${url}sub/`)
  t.match(await tab.run('document.body.innerText'), 'essay.txt')
  const headers = { cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; ') }
  t.equal((await dav('GET', '/course/sub/essay.txt', { headers })).body, 'my essay')
  t.equal((await dav('GET', '/course/sub/a.txt', { headers })).body, 'A')
})

t.test('a link to a file with a password is made from its row', async (t) => {
  await tab.open(`${url}sub/`)
  await tab.click(`${row('a.txt')} .act button`)
  await tab.until('document.querySelector("dialog[open] .choices")')
  t.equal(await tab.run('document.activeElement.textContent'), 'Make a link…')
  await tab.press('Enter')
  await opened('Link to a.txt')
  t.same(await tab.run(`[...document.getElementById('token-mode').options].map(({ value }) => value)`), [
    'read',
    'write',
  ])
  await set('token-password', "it's secret")
  await tab.click('dialog button.main')
  await opened('is made')
  const link = await textIn('secret')
  const [curl = ''] = await tab.run<string[]>(
    `[...document.querySelectorAll('dialog pre')].map((use) => use.textContent)`,
  )
  t.equal(await scratch.sh(curl.replace('FILE', '-')), 'A')
  t.equal(await status(link), '401')
  await tab.press('Escape')
  await tab.open(access)
  t.same((await details('a.txt')).slice(0, 2), ['/course/sub/a.txt', 'read'])
  await tab.click(`${row('homework')} .act button`)
  await opened('Revoke')
  await tab.click('dialog .bad')
  await tab.until(`!document.querySelector('${row('homework')}')`)
  t.equal(await status(dropping), '404')
})

t.test('what the server refuses is told in words, and what was typed stays', async (t) => {
  await tab.open(access)
  await tab.click('#new-password')
  await opened('New app password')
  await set('token-name', 'x')
  await set('token-view', 'course')
  await set('token-path', '../other')
  await tab.click('dialog button.main')
  await tab.until(`document.querySelector('dialog .error:not([hidden])')`)
  t.match(
    await tab.run(`document.querySelector('dialog .error').textContent`),
    /^Not made: "..\/other" is not a path inside a view/,
  )
  await pictured('refused')
  await set('token-path', '')
  await set('token-name', 'n'.repeat(10_000))
  await tab.click('dialog button.main')
  await tab.until(`/too long/.test(document.querySelector('dialog .error').textContent)`)
  await set('token-name', 'n'.repeat(101))
  await tab.click('dialog button.main')
  await tab.until(`/1 to 100 characters/.test(document.querySelector('dialog .error').textContent)`)
  t.equal((await textIn('token-name')).length, 101)
  await tab.press('Escape')
  const made = await tab.run<number[]>(`Promise.all([...Array(110)].map((_, i) =>
    fetch('/-/tokens', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: 'many ' + i, kind: 'link', view: 'course' }) }).then(({ status }) => status)))`)
  t.ok(made.includes(201) && made.includes(400))
  await tab.open(access)
  t.equal(await tab.run(`document.querySelector('table').tBodies[0].rows.length`), 100)
  await tab.click('#new-password')
  await opened('New app password')
  await set('token-name', 'one more')
  await tab.click('dialog button.main')
  await tab.until(`document.querySelector('dialog .error:not([hidden])')`)
  t.match(
    await tab.run(`document.querySelector('dialog .error').textContent`),
    /alice has 100 tokens already.*revoke some/,
  )
  await tab.press('Escape')
  const cookie = (await tab.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ')
  await dav('POST', '/-/logout', { headers: { cookie } })
  await tab.click(`${row('many 1')} .act button`)
  await opened('Revoke')
  await tab.click('dialog .bad')
  await tab.until(`!document.getElementById('message').hidden`)
  t.match(
    await tab.run(`document.getElementById('message').textContent`),
    /you are not logged in any more; open the page again/,
  )
})

t.test('with a password, a browser logs out by a button and Cancel; an admin sees what others have', async (t) => {
  const lines = ['alice', 'adam'].map((name) => `${name}:${newHash(`pw-${name}`, Buffer.alloc(16, 1))}\n`)
  const other = await course(t, {
    tables: '[login]\nsources = ["file"]\npassword_file = "users"\nids = ["100000-199999"]\nadmins = ["adam"]\n',
    prepare: (dir) => writeFileSync(join(dir, 'users'), lines.join(''), { mode: 0o600 }),
  })
  const top = new URL(other.server.webdavUrl as string).origin
  const as = { authorization: `Basic ${Buffer.from('alice:pw-alice').toString('base64')}` }
  const json = { ...as, 'content-type': 'application/json' }
  await other.dav('POST', '/-/tokens', { body: JSON.stringify({ name: EVIL }), headers: json })
  await tab.logInAs({ username: 'adam', password: 'pw-adam' })
  await tab.open(`${top}/-/access?user=alice`)
  t.equal(await tab.run(`document.querySelector('h1').textContent`), '/ App passwords and links of alice')
  t.same(await tab.run(`[...document.querySelectorAll('tbody tr')].map((row) => row.dataset.name)`), [EVIL])
  await tab.open(`${top}/-/access?user=${encodeURIComponent(EVIL).replaceAll("'", '%27')}`)
  t.equal(await tab.run(`document.querySelector('h1').textContent`), `/ App passwords and links of ${EVIL}`)
  await tab.logInAs(undefined)
  await tab.open(`${top}/course/`)
  t.equal(await tab.run(`document.querySelector('.account .user').textContent`), 'adam', 'the browser remembers it')
  await tab.click('.account .button:last-child')
  await tab.until(`document.getElementById('logout')`)
  await pictured('logout')
  // Nobody answers the question for a password, as if Cancel were pressed.
  await tab.logInAs({ username: '', password: '' })
  await tab.run(`void (location.href = '${top}/course/')`)
})

t.test('nothing on the pages broke their own security policy', async (t) => {
  t.same(tab.complaints, [])
  t.not(await tab.run('document.title'), 'owned')
})
