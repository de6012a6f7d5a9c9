import t from 'tap'
import { likePattern } from '../../../../protocols/webdav/properties/search-query.ts'
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

t.test('a pattern takes no longer than its length times that of the text', (t) => {
  t.ok(likePattern('%a%b_')('xxaxxbc'))
  t.notOk(likePattern('a\\%')('ab'))
  t.ok(likePattern('a\\%')('a%'))
  t.ok(likePattern('')(''))
  t.notOk(likePattern('_')(''))
  t.notOk(likePattern(`${'%a'.repeat(100)}b`)('a'.repeat(250)))
  t.end()
})
