import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { course } from '../server/course.ts'
import { openChromium } from './helpers/chromium.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
/** With the variable set, pictures of the page are kept there to be looked at. */
const pictures = process.env.PAGE_SCREENSHOTS ?? scratch.path
const { server, dav, dir, nfs } = await course(t, { as: '0:0', more: 'create = true\nquota = "1G"\nowner = "0:0"' })
const run = join(dir, 'state/run')
const [runFile] = readdirSync(run).filter((name) => name.endsWith('.json'))
const { admin } = JSON.parse(readFileSync(join(run, runFile as string), 'utf8')) as { admin: { socket: string } }

/** A browser does not speak to a Unix socket: this passes bytes on. */
const relay = createServer((socket) => {
  const other = connect(admin.socket)
  socket.pipe(other).pipe(socket)
  for (const each of [socket, other]) {
    each.on('error', () => undefined)
    each.on('close', () => [socket, other].map((one) => one.destroy()))
  }
}).listen(0, '127.0.0.1')
await once(relay, 'listening')
t.teardown(() => relay.close())
const origin = `http://127.0.0.1:${(relay.address() as { port: number }).port}`

const USERS = ['alice', 'bob', ...Array.from({ length: 300 }, (_, i) => `student${i}`)]
const order = (verb: string, body: object) =>
  fetch(`${origin}/v1/${verb}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
for (const name of USERS) {
  const made = await order('view/create', { view: `course/${name}` })
  if (!made.ok) throw new Error(await made.text())
}
await dav('PUT', '/course/~bob/welcome.txt', { body: 'hello\n' })
await dav('PUT', '/course/~bob/new.txt', { body: 'new\n' })
await order('snapshot/take', { view: 'course/bob', name: 'monday' })
await nfs.mount('/course/bob')

const tab = await openChromium(scratch)
await tab.resize(1200, 900, false)

const shown = (hash: string) => tab.until(`document.body?.dataset.shown === ${JSON.stringify(hash)}`)
async function pictured(name: string): Promise<void> {
  await tab.screenshot(join(pictures, `admin-${name}.png`))
  await tab.prefer('dark')
  await tab.screenshot(join(pictures, `admin-${name}-dark.png`))
  await tab.prefer('light')
  await tab.resize(360, 740, true)
  t.equal(await tab.run('document.documentElement.scrollWidth <= 360'), true, `${name} fits a phone`)
  const small = await tab.run<string[]>(`[...document.querySelectorAll('button, .button, input, select')]
    .filter((element) => element.offsetParent !== null && element.getBoundingClientRect().height < 32 && element.closest('thead') === null)
    .map((element) => element.outerHTML)`)
  t.same(small, [], `${name} is for fingers`)
  await tab.screenshot(join(pictures, `admin-${name}-phone.png`))
  await tab.resize(1200, 900, false)
}
const rows = (panel: string) =>
  tab.run<string[]>(`[...document.querySelectorAll('#${panel} tbody tr')].map((row) => row.dataset.key)`)

t.test('the overview says what the server is, and plots what it does', async (t) => {
  await tab.run(`void (location.href = '${origin}/')`)
  await tab.until(`document.body?.dataset.ready !== undefined`)
  await shown('#overview')
  t.match(await tab.run(`document.querySelector('dl.facts').textContent`), /Version\d/)
  t.match(await tab.run(`document.querySelector('ul.templates').textContent`), /course per-user 302 views/)
})

t.test('hundreds of views are searched, sorted and shown in parts', async (t) => {
  await tab.run(`document.getElementById('tab-overview').focus()`)
  await tab.press('ArrowRight')
  await shown('#views')
  t.equal(await tab.run(`document.querySelector('#views .count').textContent`), '302 in all')
  t.equal((await rows('views')).length, 200)
  await tab.click('th[data-column=path] button')
  t.equal((await rows('views'))[0], 'course/student299', 'descending')
  await tab.run(`document.querySelector('#views .filter').focus()`)
  await tab.type('BOB')
  await tab.until(`document.querySelectorAll('#views tbody tr').length === 1`)
  t.same(await rows('views'), ['course/bob'])
  await pictured('views')
})

t.test('a view has a picture of its stack, its snapshots, and its changes with their text', async (t) => {
  await tab.click('#views tbody a')
  await shown('#views/course/bob')
  t.match(
    await tab.run(`document.querySelector('svg.stack').getAttribute('aria-label')`),
    /^3 layers, topmost first: upper .*frozen .*lower /,
  )
  t.match(await tab.run(`document.querySelector('svg.stack .frozen').textContent`), /@monday/)
  await tab.click('#show-changes')
  await tab.until(`document.querySelector('#views .differences [data-complete]')`)
  await tab.click('tr[data-path="welcome.txt"] button')
  await tab.until(`document.querySelector('pre.patch .plus')`)
  t.match(await tab.run(`document.querySelector('pre.patch').textContent`), /-welcome\n[\s\S]*\+hello/)
  await pictured('view')
})

t.test('a verb asks first, says what went wrong, and does it', async (t) => {
  await tab.click('button[data-verb="view fork"]')
  await tab.until(`document.querySelector('dialog[open] #field-name')`)
  t.equal(await tab.run(`document.getElementById('field-view').value`), 'course/bob')
  await tab.run(`document.getElementById('field-name').focus()`)
  await tab.type('alice')
  await tab.press('Enter')
  await tab.until(`document.querySelector('dialog .error')`)
  t.match(
    await tab.run(`document.querySelector('dialog .error').textContent`),
    /course\/alice exists already; choose another name/,
  )
  await pictured('refused')
  await tab.run(`document.getElementById('field-name').value = 'carol'`)
  await tab.click('dialog .main:not([hidden])')
  await tab.until(`document.querySelector('dialog .terms')`)
  t.match(await tab.run(`document.querySelector('dialog .terms').textContent`), /course\/carol/)
  await tab.press('Escape')
  t.equal((await order('view/show', { view: 'course/carol' })).status, 200)
  await tab.click('#views [data-key=monday] button:nth-of-type(3)')
  await tab.until(`document.querySelector('dialog[open] .bad')`)
  await tab.click('dialog .bad')
  await tab.until(`document.querySelector('dialog .terms')`)
  await tab.press('Escape')
  await tab.until(`document.querySelectorAll('#views [data-key=monday]').length === 0`)
})

t.test('a verb that can tell what it would do does that first', async (t) => {
  await tab.click('button[data-verb="rebase"]')
  await tab.until(`document.querySelector('dialog[open] #field-views')`)
  t.equal(await tab.run(`document.getElementById('field-views').value`), 'course/bob')
  t.equal(await tab.run(`document.getElementById('field-dryRun')`), null, 'the page sets it by itself')
  t.equal(await tab.run(`document.querySelector('dialog .end button:last-child').hidden`), true)
  await tab.click('dialog .main')
  await tab.until(`document.querySelector('dialog .output table')`)
  t.match(await tab.run(`document.querySelector('dialog .output').textContent`), /course\/bob.*current/)
  t.equal(await tab.run(`document.querySelector('dialog .end button:last-child').hidden`), false)
  await pictured('dry-run')
  await tab.press('Escape')
})

t.test('live clients, usage, jobs and all verbs are shown', async (t) => {
  await tab.click('#tab-clients')
  await shown('#clients')
  await tab.until(`document.querySelector('#clients tbody tr')`)
  t.ok((await rows('clients')).includes('nfs 127.0.0.1'))
  await pictured('clients')
  await tab.click('#tab-usage')
  await tab.until(`document.querySelector('#usage [data-key="course/bob"]')`)
  await pictured('usage')
  await tab.click('#tab-jobs')
  await tab.until(`document.querySelector('#jobs tbody tr .badge')?.textContent === 'done'`)
  t.match(await tab.run(`document.querySelector('#jobs tbody tr').textContent`), /usage/)
  await tab.click('#jobs tbody button')
  await tab.until(`document.querySelector('dialog[open] .terms')`)
  await tab.press('Escape')
  await pictured('jobs')
  await tab.click('#tab-verbs')
  await tab.until(`document.querySelectorAll('#verbs tbody tr').length > 20`)
  await pictured('verbs')
})

t.test('the overview has plots as soon as there are two points', async (t) => {
  await tab.click('#tab-overview')
  const plots = `document.querySelectorAll('figure.plot svg polyline').length >= 6`
  // A point comes every ten seconds.
  for (let tries = 0; tries < 3; tries++) await tab.until(plots).catch(() => undefined)
  await tab.until(plots)
  t.match(
    await tab.run(`document.querySelector('figure.plot svg').getAttribute('aria-label')`),
    /^Requests: now WebDAV .*NFS /,
  )
  await pictured('overview')
})

t.test('a view that is gone, and a server that is gone, are told in words', async (t) => {
  await tab.run(`void (location.hash = '#views/course/nobody')`)
  await shown('#views/course/nobody')
  t.match(await tab.run(`document.getElementById('message').textContent`), /no view/)
  await server.stop()
  await tab.click('#tab-clients')
  await tab.until(
    `!document.getElementById('message').hidden && /no answer from the server/.test(document.getElementById('message').textContent)`,
  )
})

t.test('nothing on the page broke its own security policy', async (t) => {
  t.same(tab.complaints, [])
  const answer = await fetch(`${origin}/`).catch(() => undefined)
  t.equal(answer, undefined, 'the server has ended')
})
