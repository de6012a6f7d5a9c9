import t from 'tap'
import { LikePattern } from '../../../../protocols/webdav/properties/like-pattern.ts'
import { hrefs, withDav } from '../dav-fixture.ts'

function search(where: string, scope = '/overlay/', depth = 'infinity', more = ''): string {
  return (
    '<?xml version="1.0"?><D:searchrequest xmlns:D="DAV:"><D:basicsearch><D:select><D:prop><D:getcontentlength/></D:prop></D:select>' +
    `<D:from><D:scope><D:href>${scope}</D:href><D:depth>${depth}</D:depth></D:scope></D:from>` +
    `${where === '' ? '' : `<D:where>${where}</D:where>`}${more}</D:basicsearch></D:searchrequest>`
  )
}
const compare = (operator: string, property: string, literal: string) =>
  `<D:${operator}><D:prop><D:${property}/></D:prop><D:literal>${literal}</D:literal></D:${operator}>`
const like = (literal: string) => compare('like', 'displayname', literal)

const tree = {
  'a/Report 2025.txt': 'x',
  'a/b/report-2026.txt': 'xx',
  'a/b/other.md': 'xxx',
  'reports/x': '',
  loop: '-> a',
}

t.test('names are found below the scope, whatever their case', async (t) => {
  await withDav(t, [tree], async ({ ask }) => {
    const find = async (body: string) => hrefs((await ask('SEARCH', '/overlay/', { body })).body).sort()
    t.same(await find(search(like('%report%'))), [
      '/overlay/a/Report%202025.txt',
      '/overlay/a/b/report-2026.txt',
      '/overlay/reports/',
    ])
    t.same(await find(search(like('report-____.txt'), '/overlay/a/b/', '1')), ['/overlay/a/b/report-2026.txt'])
    t.same(await find(search(like('%.txt'), '/overlay/a', '1')), ['/overlay/a/Report%202025.txt'], 'not deeper')
    t.same(
      await find(search(`<D:and>${like('%report%')}<D:not><D:is-collection/></D:not></D:and>`, '/overlay/reports/')),
      [],
    )
    t.same(await find(search(`<D:or>${like('other%')}${compare('eq', 'displayname', 'x')}</D:or>`)), [
      '/overlay/a/b/other.md',
      '/overlay/reports/x',
    ])
    t.same(await find(search(compare('gt', 'getcontentlength', '2'))), ['/overlay/a/b/other.md'])
    t.same((await find(search(''))).length, 8, 'everything, once')
  })
})

t.test('more matches than allowed are told of', async (t) => {
  await withDav(
    t,
    [Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`f${i}`, '']))],
    async ({ ask }) => {
      const few = await ask('SEARCH', '/overlay/', {
        body: search(like('f%'), '/overlay/', '1', '<D:limit><D:nresults>2</D:nresults></D:limit>'),
      })
      t.equal(hrefs(few.body).length, 3)
      t.match(few.body, /507 Insufficient Storage/)
      t.equal(hrefs((await ask('SEARCH', '/overlay/', { body: search(like('f%')) })).body).length, 5 + 1)
    },
    { limits: { searchResults: 5 } },
  )
})

t.test('a search that cannot be done is refused', async (t) => {
  await withDav(t, [{ f: '', 'd/x': '' }], async ({ ask }) => {
    const status = async (body: string) => (await ask('SEARCH', '/overlay/', { body })).status
    t.equal(await status(search('<D:contains>x</D:contains>')), 422)
    t.equal(await status(search(compare('eq', 'owner', 'x'))), 422)
    t.equal(await status(search(like('x'), '/elsewhere/')), 403)
    t.equal(await status(search(like('x'), 'http://other.example/overlay/')), 403)
    t.equal(await status(search(like('x'), '/overlay/f')), 404)
    t.equal(await status(search(like('x'), '/overlay/', '7')), 400)
    t.equal(await status('<D:searchrequest xmlns:D="DAV:"><x xmlns="urn:x"/></D:searchrequest>'), 422)
    t.equal(await status('<D:other xmlns:D="DAV:"/>'), 400)
    t.equal(await status(search(`<D:or>${like('x').repeat(40)}</D:or>`)), 400)
    t.match((await ask('OPTIONS', '/overlay/')).headers.dasl, '<DAV:basicsearch>')
  })
})

t.test('a pattern means what its regular expression means, and costs a few steps per character whatever it is', (t) => {
  const like = (pattern: string, text: string) => new LikePattern(pattern).matches(text)
  t.ok(like('%a%b_', 'xxaxxbc'))
  t.notOk(like('a\\%', 'ab'))
  t.ok(like('a\\%', 'a%'))
  t.ok(like('', ''))
  t.notOk(like('_', ''))
  t.ok(like('%\u{1f600}_', 'x\u{1f600}\u{1f601}'))
  t.notOk(like(`${'%a'.repeat(100)}b`, 'a'.repeat(250)))
  t.ok(like(`${'%a'.repeat(100)}%b`, `${'a'.repeat(249)}b`))
  const pick = (seed: number, from: string, length: number) =>
    Array.from({ length }, (_, i) => from[Math.abs(Math.imul(seed + i, 0x9e3779b1) >> 7) % from.length]).join('')
  for (let seed = 0; seed < 20_000; seed++) {
    const pattern = pick(seed, 'ab%_', (seed % 7) + (seed % 50 === 0 ? 60 : 0))
    const text = pick(seed * 31, 'ab', (seed % 9) + (seed % 50 === 0 ? 60 : 0))
    const expected = new RegExp(`^${pattern.replaceAll(/%+/g, '.*').replaceAll('_', '.')}$`).test(text)
    if (like(pattern, text) !== expected) t.fail(`${pattern} on ${text}`)
  }
  t.equal(new LikePattern(`%${'a_'.repeat(120)}b%`).words, 8)
  t.end()
})
