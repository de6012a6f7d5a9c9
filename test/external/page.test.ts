import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openChromium } from './helpers/chromium.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(scratch.path, name)) as [
  string,
  string,
  string,
]
/** With the variable set, pictures of the page are kept there to be looked at. */
const pictures = process.env.PAGE_SCREENSHOTS ?? scratch.path
const EVIL = `<img src=x onerror="document.title='owned'"> & 'quotes'`

for (const directory of [upper, work, join(lower, 'docs/deep'), join(lower, 'empty')])
  await mkdir(directory, { recursive: true })
const files: [string, string | Buffer][] = [
  ['docs/report.txt', 'as it was shipped\n'],
  ['docs/large.bin', Buffer.alloc(3_000_000)],
  ['docs/file 10.txt', 'ten'],
  ['docs/file 9.txt', 'nine!'],
  [`docs/${EVIL}`, 'evil'],
  ['docs/gone.txt', 'removed later'],
  ['docs/deep/inside.txt', 'x'],
]
for (const [path, content] of files) {
  await writeFile(join(lower, path), content)
  await utimes(join(lower, path), 1_700_000_000, 1_700_000_000)
}
await chmod(join(lower, 'docs'), 0o755)
const overlayd = await startOverlayd(scratch, { lowerdir: [lower], upperdir: upper, workdir: work })
const docs = `${overlayd.webdavUrl}docs/`
const tab = await openChromium(scratch)

const NAMES = `[...document.querySelectorAll('tbody td.name')].map((cell) => cell.textContent)`
const focus = (selector: string) => tab.run(`document.querySelector(${JSON.stringify(selector)}).focus()`)
const row = (name: string) => `tr[data-name="${name}"]`

t.test('a folder shows names, sizes, times and layers, and nothing in a name becomes more than text', async (t) => {
  await tab.resize(1200, 800, false)
  await tab.open(docs)
  t.same(await tab.run(NAMES), ['deep/', EVIL, 'file 10.txt', 'file 9.txt', 'gone.txt', 'large.bin', 'report.txt'])
  t.equal(await tab.run('document.title'), '/overlay/docs/')
  t.same(
    await tab.run(
      `[...document.querySelector('${row('large.bin')}').cells].slice(1, 4).map((cell) => cell.textContent)`,
    ),
    ['2.9 MiB', '2023-11-14 22:13', 'lower'],
  )
  t.same(await tab.run(`[...document.querySelectorAll('h1 a, h1 [aria-current]')].map((link) => link.textContent)`), [
    ...['/', 'overlay', 'docs'],
  ])
  await tab.screenshot(join(pictures, 'desktop.png'))
})

t.test('columns sort by keyboard, numbers in names count as numbers', async (t) => {
  await focus('th[data-column=name] button')
  await tab.press('Enter')
  t.same((await tab.run<string[]>(NAMES)).slice(0, 4), ['deep/', EVIL, 'file 9.txt', 'file 10.txt'])
  await focus('th[data-column=size] button')
  await tab.press('Enter')
  t.equal(await tab.run(`document.querySelector('th[data-column=size]').getAttribute('aria-sort')`), 'ascending')
  await tab.press('Enter')
  t.same((await tab.run<string[]>(NAMES)).slice(0, 2), ['deep/', 'large.bin'], 'folders first, then the largest')
})

t.test('a folder is made and renamed without a mouse', async (t) => {
  await tab.open(docs)
  await focus('#folder')
  await tab.press('Enter')
  await tab.until(`document.activeElement.id === 'new-name'`)
  await tab.type('made here')
  await tab.press('Enter')
  await tab.until(`document.querySelector('${row('made here')}')`)
  t.ok(existsSync(join(upper, 'docs/made here')))
  t.equal(await tab.run(`document.querySelector('${row('made here')} .badge').textContent`), 'upper')
  await focus(`${row('made here')} .act button`)
  await tab.press('Enter')
  await tab.until('document.querySelector("dialog[open]")')
  t.equal(await tab.run('document.activeElement.textContent'), 'Rename…', 'the focus is in the dialog')
  await tab.press('Escape')
  await tab.until('!document.querySelector("dialog")')
  t.match(
    await tab.run('document.activeElement.getAttribute("aria-label")'),
    'Actions for made here',
    'and back after it',
  )
  await tab.press('Enter')
  await tab.until('document.querySelector("dialog[open]")')
  await tab.press('Enter')
  await tab.until(`document.activeElement.id === 'new-name'`)
  await tab.run('document.activeElement.select()')
  await tab.type('ünlike #2?')
  await tab.press('Enter')
  await tab.until(`document.querySelector('${row('ünlike #2?')}')`)
  t.ok(existsSync(join(upper, 'docs/ünlike #2?')))
  t.notOk(existsSync(join(upper, 'docs/made here')))
})

t.test('files are uploaded by choice and by drop, folders whole, and none is replaced unasked', async (t) => {
  await tab.open(docs)
  const [chosen, folder] = [join(scratch.path, 'report.txt'), join(scratch.path, 'holiday')]
  await writeFile(chosen, 'a new version\n')
  await mkdir(join(folder, 'more'), { recursive: true })
  await writeFile(join(folder, 'one.txt'), '1')
  await writeFile(join(folder, 'more/two.txt'), Buffer.alloc(2_000_000, 'z'))
  await tab.choose('#files', [chosen])
  await tab.until(`document.querySelector('dialog[open] h2')?.textContent.includes('already exists')`)
  await tab.screenshot(join(pictures, 'replace.png'))
  t.notOk(existsSync(join(upper, 'docs/report.txt')), 'nothing has happened yet')
  await tab.click('dialog .bad')
  await tab.until(`document.querySelector('${row('report.txt')}').dataset.layer === 'changed'`)
  t.equal(readFileSync(join(upper, 'docs/report.txt'), 'utf8'), 'a new version\n')
  await tab.drop([folder])
  await tab.until(`document.querySelector('${row('holiday')}')`)
  t.equal(readFileSync(join(upper, 'docs/holiday/one.txt'), 'utf8'), '1')
  t.equal(readFileSync(join(upper, 'docs/holiday/more/two.txt')).length, 2_000_000)
})

t.test("the lower's version of a changed file is restored, a deleted file is brought back", async (t) => {
  await tab.open(docs)
  t.equal(await tab.run(`document.querySelector('${row('report.txt')} .badge').textContent`), 'copied up')
  await tab.click(`${row('report.txt')} .act button`)
  await tab.until('document.querySelector("dialog[open] .choices")')
  await tab.screenshot(join(pictures, 'actions.png'))
  await tab.click('dialog .choices button:nth-child(2)')
  await tab.until(`document.querySelector('dialog h2').textContent.startsWith('Discard')`)
  await tab.click('dialog .bad')
  await tab.until(`document.querySelector('${row('report.txt')}')?.dataset.layer === 'lower'`)
  t.notOk(existsSync(join(upper, 'docs/report.txt')))
  await tab.click(`${row('gone.txt')} .act button`)
  await tab.until('document.querySelector("dialog[open] .choices")')
  await tab.click('dialog .choices button:nth-child(2)')
  await tab.until(`document.querySelector('dialog h2').textContent.startsWith('Delete gone.txt')`)
  await tab.click('dialog .bad')
  await tab.until(`document.querySelector('${row('report.txt')}') && !document.querySelector('${row('gone.txt')}')`)
  await tab.open(`${docs}?removed`)
  t.equal(await tab.run(`document.querySelector('${row('gone.txt')} .badge').textContent`), 'removed')
  await tab.click(`${row('gone.txt')} .act button`)
  await tab.until('document.querySelector("dialog[open] .choices")')
  await tab.click('dialog .choices button:first-child')
  await tab.until(`document.querySelector('dialog h2').textContent.startsWith('Restore')`)
  await tab.click('dialog .bad')
  await tab.until(`document.querySelector('${row('gone.txt')}')?.dataset.layer === 'lower'`)
  t.equal(await (await fetch(`${docs}gone.txt`)).text(), 'removed later')
})

t.test('a refusal is told in words', async (t) => {
  await tab.open(docs)
  await tab.run(
    `fetch('file%209.txt', { method: 'LOCK', body: '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>' })`,
  )
  await tab.click(`${row('file 9.txt')} .act button`)
  await tab.until('document.querySelector("dialog[open] .choices")')
  await tab.click('dialog .choices button:nth-child(2)')
  await tab.until(`document.querySelector('dialog .bad')`)
  await tab.click('dialog .bad')
  await tab.until(`!document.getElementById('message').hidden`)
  t.match(await tab.run(`document.getElementById('message').textContent`), /^Delete file 9.txt: it is locked/)
})

t.test('on a phone nothing is cut off and targets are large enough for a finger', async (t) => {
  await tab.resize(360, 740, true)
  await tab.open(docs)
  t.equal(await tab.run('document.documentElement.scrollWidth <= 360'), true)
  const small = await tab.run<string[]>(`[...document.querySelectorAll('.tools button, .tools a, .act button')]
    .filter((element) => element.offsetParent !== null && element.getBoundingClientRect().height < 40).map((element) => element.textContent)`)
  t.same(small, [])
  await tab.screenshot(join(pictures, 'phone.png'))
  await tab.click(`${row('large.bin')} .act button`)
  await tab.until('document.querySelector("dialog[open] .choices")')
  await tab.screenshot(join(pictures, 'phone-actions.png'))
  await tab.press('Escape')
  await tab.open(`${overlayd.webdavUrl}empty/`)
  t.equal(await tab.run(`document.querySelector('.empty').textContent`), 'This folder is empty.')
})

t.test('nothing on the page broke its own security policy', async (t) => {
  t.same(tab.complaints, [])
  t.not(await tab.run('document.title'), 'owned')
})
