import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { newHash } from '../../server/login/index.ts'
import { course } from '../server/course.ts'
import { run, start } from '../server/launch.ts'
import { openChromium } from './helpers/chromium.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
/** With the variable set, pictures of the page are kept there to be looked at. */
const pictures = process.env.PAGE_SCREENSHOTS ?? scratch.path
const EVIL = `<img src=x onerror="document.title='owned'">`
const { server, dav, dir } = await course(t, {
  tables: '[login]\nsources = ["file"]\npassword_file = "users"\nids = ["100000-199999"]\n',
  prepare: (at) => writeFileSync(join(at, 'users'), `alice:${newHash('pw', Buffer.alloc(16, 1))}\n`, { mode: 0o600 }),
})
const { origin } = new URL(server.webdavUrl as string)
const headers = { authorization: `Basic ${Buffer.from('alice:pw').toString('base64')}` }
const put = (path: string, body: string) => dav('PUT', `/course/${encodeURI(path)}`, { headers, body })
const tab = await openChromium(scratch)
await tab.resize(1200, 800, false)
await tab.logInAs({ username: 'alice', password: 'pw' })

const row = (path: string) => `tr[data-path=${JSON.stringify(path)}]`
const paths = () =>
  tab.run<string[]>(`[...document.querySelectorAll('#changes tr[data-path]')].map((row) => row.dataset.path)`)
const complete = () => tab.until(`document.querySelector('#changes [data-complete]')`)

async function pictured(name: string): Promise<void> {
  await tab.screenshot(join(pictures, `${name}.png`))
  await tab.prefer('dark')
  await tab.screenshot(join(pictures, `${name}-dark.png`))
  await tab.prefer('light')
  await tab.resize(360, 740, true)
  t.equal(await tab.run('document.documentElement.scrollWidth <= 360'), true, `${name} fits a phone`)
  const small = await tab.run<string[]>(`[...document.querySelectorAll('button, .button, input')]
    .filter((element) => element.offsetParent !== null && element.getBoundingClientRect().height < 40 && element.closest('thead') === null)
    .map((element) => element.outerHTML)`)
  t.same(small, [], `${name} is for fingers`)
  await tab.screenshot(join(pictures, `${name}-phone.png`))
  await tab.resize(1200, 800, false)
}

t.test('the folder leads to the page, which shows what was changed and the text of a change', async (t) => {
  await put('welcome.txt', 'hello\n')
  await put(`${EVIL.replaceAll('/', '')}.txt`, 'x')
  await put('notes/day 1.txt', 'n').then(() => dav('MKCOL', '/course/notes', { headers }))
  await put('notes/day 1.txt', 'first\n')
  await dav('DELETE', '/course/sub/a.txt', { headers })
  await tab.open(`${origin}/course/`)
  await tab.click('a[href="/-/mine/course"]')
  await tab.until(`location.pathname === '/-/mine/course' && document.body?.dataset.ready !== undefined`)
  await complete()
  t.same((await paths()).sort(), [`${EVIL}.txt`, 'notes', 'notes/day 1.txt', 'sub/a.txt', 'welcome.txt'].sort())
  await tab.click(`${row('welcome.txt')} button[aria-expanded]`)
  await tab.until(`document.querySelector('pre.patch .plus')`)
  t.match(await tab.run(`document.querySelector('pre.patch').textContent`), /-welcome\n[\s\S]*\+hello\n/)
  await pictured('my-changes')
  t.equal(
    await tab.run(`document.querySelector('${row('notes/day 1.txt')} a').getAttribute('href')`),
    '/course/notes/day%201.txt',
  )
})

t.test('each change is undone alone, after a question', async (t) => {
  await tab.click(`${row('welcome.txt')} .undo`)
  await tab.until(`document.querySelector('dialog[open] h2')?.textContent === 'Discard your changes to welcome.txt?'`)
  await tab.press('Escape')
  await tab.until(`!document.querySelector('dialog')`)
  t.equal((await dav('GET', '/course/welcome.txt', { headers })).body, 'hello\n', 'nothing has happened yet')
  for (const path of ['welcome.txt', 'sub/a.txt', 'notes']) {
    await tab.click(`${row(path)} .undo`)
    await tab.until(`document.querySelector('dialog[open] .bad')`)
    await tab.click('dialog .bad')
    await tab.until(`document.querySelector('#changes [data-complete]') && !document.querySelector('${row(path)}')`)
  }
  t.same(await paths(), [`${EVIL}.txt`])
  t.equal((await dav('GET', '/course/welcome.txt', { headers })).body, 'welcome')
  t.equal((await dav('GET', '/course/sub/a.txt', { headers })).body, 'A')
  t.equal((await dav('GET', '/course/notes/', { headers })).status, 404)
})

t.test('versions are reached by keyboard, and show what has changed since', async (t) => {
  t.equal((await run(['snapshot', 'course/alice', 'monday', '--state-dir', join(dir, 'state')])).status, 0)
  await put('later.txt', 'later\n')
  await tab.run(`document.getElementById('tab-changes').focus()`)
  await tab.press('ArrowRight')
  await tab.until(`document.querySelector('#versions [data-name=monday]')`)
  t.equal(await tab.run('document.activeElement.id'), 'tab-versions')
  t.equal(await tab.run('location.hash'), '#versions')
  await pictured('versions')
  await tab.click('#versions [data-name=monday] button')
  await tab.until(`document.querySelector('#versions [data-path="later.txt"]')`)
  t.same(await tab.run(`[...document.querySelectorAll('#versions tr[data-path]')].map((row) => row.dataset.path)`), [
    'later.txt',
  ])
  await put('welcome.txt', 'changed after monday\n')
  await dav('DELETE', '/course/later.txt', { headers })
  await put('later.txt', 'later\n')
  await tab.click('#versions button')
  await tab.click('#versions [data-name=monday] button')
  const restored: readonly [string, string][] = [
    // Its time is kept to the second.
    ['welcome.txt', `document.querySelector('#versions ${row('welcome.txt')} .detail').textContent === 'time'`],
    ['later.txt', `!document.querySelector('#versions ${row('later.txt')}')`],
  ]
  for (const [path, done] of restored) {
    await tab.click(`#versions ${row(path)} .undo`)
    await tab.until(`document.querySelector('dialog[open] .bad')`)
    await tab.click('dialog .bad')
    await tab.until(`document.querySelector('#versions [data-complete]') && ${done}`)
  }
  t.equal((await dav('GET', '/course/welcome.txt', { headers })).body, 'welcome')
  t.equal((await dav('GET', '/course/later.txt', { headers })).status, 404)
  await tab.click('#versions button')
  await tab.until(`document.querySelector('#versions [data-name=monday]')`)
})

t.test('many changes are shown in parts, and found by their path', async (t) => {
  await tab.run(`Promise.all([...Array(250)].map((_, i) => fetch('/course/many-' + i, { method: 'PUT', body: 'x' })))`)
  await tab.run('void location.reload()')
  await tab.until(`document.getElementById('tab-versions')?.getAttribute('aria-selected') === 'true'`)
  await tab.click('#tab-changes')
  await tab.until(`document.querySelector('#changes [data-complete]')`)
  t.equal(await tab.run(`document.querySelectorAll('#changes tr[data-path]').length`), 200)
  await tab.click('#changes .more')
  await tab.until(`document.querySelectorAll('#changes tr[data-path]').length === 252`)
  await tab.run(`document.querySelector('.filter').focus()`)
  await tab.type('MANY-24')
  await tab.until(`document.querySelectorAll('#changes tr[data-path]').length === 11`)
})

t.test('what the user and a new version of the material have both changed is told', async (t) => {
  const own = join(scratch.path, 'updated')
  for (const name of ['old', 'new']) mkdirSync(join(own, name), { recursive: true })
  writeFileSync(join(own, 'old/task.txt'), 'first\n')
  writeFileSync(join(own, 'new/task.txt'), 'second\n')
  const config = join(own, 'o.toml')
  const layers = `[layers]\ndirectory = "layers"\n[stacks.course]\nlayers = ["layer:material"]\n`
  writeFileSync(config, updatedCourse(layers))
  writeFileSync(join(own, 'users'), `alice:${newHash('pw', Buffer.alloc(16, 1))}\n`, { mode: 0o600 })
  const overlayd = async (...words: string[]) => {
    const ended = await run(words, { cwd: own })
    t.equal(ended.status, 0, `${words.join(' ')}: ${ended.stderr}`)
  }
  await overlayd('layer', 'add', 'material', '--from', 'old', '--config', config)
  const other = await start(t, ['serve', '--config', config])
  const top = new URL(other.webdavUrl as string).origin
  const write = await fetch(`${top}/course/task.txt`, { method: 'PUT', headers, body: 'mine\n' })
  t.equal(write.status, 204)
  await tab.run(`void (location.href = '${top}/-/mine/course#conflicts')`)
  await tab.until(`document.querySelector('#conflicts[data-complete]')`)
  t.match(await tab.run(`document.getElementById('conflicts').textContent`), /was never updated/)
  await overlayd('layer', 'publish', 'material', '--from', 'new', '--config', config)
  await overlayd('reload', '--state-dir', join(own, 'state'))
  await overlayd('rebase', 'course', '--yes', '--state-dir', join(own, 'state'))
  await tab.run('void location.reload()')
  await tab.until(`document.querySelector('#conflicts tr[data-path="task.txt"]')`)
  t.match(
    await tab.run(`document.getElementById('conflicts').textContent`),
    /1 changed on both sides\. What you had before is the version before-rebase-.*You have changed it, the material has changed it.*new one is task\.txt\.base-2/s,
  )
  await pictured('conflicts')
  t.equal(await other.stop(), 0)
})

t.test('nothing on the page broke its own security policy', async (t) => {
  t.same(tab.complaints, [])
  t.not(await tab.run('document.title'), 'owned')
})

/** A course whose material has versions. */
function updatedCourse(layers: string): string {
  return `${layers}
[views.course]
stack = "course"
upper = "per-user"
directory = "views"
create = true
owner = "0:0"
conflicts = ["both *.txt"]
[exports.web]
view = "course"
door = "webdav"
[webdav]
listen = "127.0.0.1:0"
[nfs]
listen = "off"
[server]
state_dir = "state"
[login]
sources = ["file"]
password_file = "users"
ids = ["100000-199999"]
`
}
