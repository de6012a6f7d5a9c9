import t from 'tap'
import { encodeSegment, hrefOf, nameOfText, parsePath, textOfName } from '../../../../protocols/webdav/http/path.ts'
import { refusal } from '../refusal.ts'

t.test('a path is decoded exactly once, to bytes', async (t) => {
  t.same(parsePath('/overlay/a%20b/%C3%A9'), { names: ['overlay', 'a b', '\xc3\xa9'], trailingSlash: false })
  t.same(parsePath('/overlay/%252e%252ex').names, ['overlay', '%2e%2ex'])
  t.same(parsePath('/overlay/%ff%FE').names, ['overlay', '\xff\xfe'])
  t.same(parsePath('/overlay/100%25').names, ['overlay', '100%'])
})

t.test('empty segments are skipped, a final slash is noted, a query is not part of the path', async (t) => {
  t.same(parsePath('/overlay//a///b/'), { names: ['overlay', 'a', 'b'], trailingSlash: true })
  t.same(parsePath('/overlay/a?b=/c/../d'), { names: ['overlay', 'a'], trailingSlash: false })
  t.same(parsePath('/'), { names: [], trailingSlash: true })
})

for (const target of [
  '/overlay/%00',
  '/overlay/a%00b',
  '/overlay/a%2fb',
  '/overlay/a%2Fb',
  '/overlay/.',
  '/overlay/..',
  '/overlay/../etc/passwd',
  '/overlay/%2e',
  '/overlay/%2e%2E/x',
  '/overlay/.%2e',
  '/overlay/%zz',
  '/overlay/%',
  '/overlay/%4',
  '/overlay/a#b',
  '/overlay/a?b#c',
  'overlay/a',
  '*',
  '',
]) {
  t.test(`the target ${JSON.stringify(target)} is refused with 400`, async (t) => {
    t.equal(
      refusal(() => parsePath(target)),
      400,
    )
  })
}

t.test('every byte survives a round through a URL', async (t) => {
  for (let byte = 1; byte < 256; byte++) {
    const name = `a${String.fromCharCode(byte)}`
    if (name === 'a/') continue
    const encoded = encodeSegment(name)
    t.match(encoded, /^[A-Za-z0-9\-._~!$()*+,;=:@%]+$/)
    t.same(parsePath(`/${encoded}`).names, [name])
  }
})

t.test('hrefs escape what URLs, XML and HTML give a meaning', async (t) => {
  t.equal(encodeSegment('a#b?c%d&e<f>"g\'h'), 'a%23b%3Fc%25d%26e%3Cf%3E%22g%27h')
  t.equal(hrefOf('/overlay/', ['a b', 'c'], true), '/overlay/a%20b/c/')
  t.equal(hrefOf('/overlay/', ['a'], false), '/overlay/a')
  t.equal(hrefOf('/overlay/', [], true), '/overlay/')
})

t.test('names are text for people, by UTF-8', async (t) => {
  t.equal(textOfName(nameOfText('Käse 🧀')), 'Käse 🧀')
  t.equal(textOfName('\xff'), '\ufffd')
})
