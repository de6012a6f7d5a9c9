import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { escapeHtml } from '../../../../protocols/webdav/http/page-frame.ts'
import { withDav } from '../dav-fixture.ts'

t.test('a browser gets a page whose links work with and without the final slash', async (t) => {
  await withDav(t, [{ 'd/sub/x': '', 'd/b.txt': 'hello', 'd/a.txt': '' }], async ({ ask }) => {
    for (const path of ['/overlay/d', '/overlay/d/']) {
      const { status, headers, body } = await ask('GET', path)
      t.equal(status, 200)
      t.equal(headers['content-type'], 'text/html; charset=utf-8')
      t.same(
        [...body.matchAll(/(?:<h1>.*|class="name"><a )href="([^"]+)"/g)].map((found) => found[1]),
        ['/overlay/', '/overlay/d/sub/', '/overlay/d/a.txt', '/overlay/d/b.txt'],
        'directories first, then by name',
      )
    }
    const head = await ask('HEAD', '/overlay/d/')
    t.same([head.status, head.body], [200, ''])
    t.match((await ask('GET', '/')).body, /href="\/overlay\/"/)
  })
})

t.test('a page has an entity tag, and is sent again only when it has changed', async (t) => {
  await withDav(t, [{ 'd/a.txt': 'a' }], async ({ ask }) => {
    for (const path of ['/overlay/d/', '/']) {
      const { headers, body } = await ask('GET', path)
      const etag = String(headers.etag)
      t.match(etag, /^"[\w-]+"$/)
      const same = await ask('GET', path, { headers: { 'if-none-match': `"x", W/${etag}` } })
      t.same([same.status, same.body, same.headers.etag], [304, '', etag])
      t.match(same.headers['content-security-policy'], /default-src 'none'/)
      t.equal((await ask('GET', path, { headers: { 'if-match': etag } })).body, body)
      t.equal((await ask('GET', path, { headers: { 'if-match': '"x"' } })).status, 412)
    }
    const before = String((await ask('GET', '/overlay/d/')).headers.etag)
    await ask('PUT', '/overlay/d/a.txt', { body: 'longer' })
    const after = await ask('GET', '/overlay/d/', { headers: { 'if-none-match': before } })
    t.equal(after.status, 200)
    t.not(after.headers.etag, before)
  })
})

t.test('names cannot break out of the page', async (t) => {
  const evil = `<img src=x onerror=alert(1)>"'&`
  await withDav(t, [{ [`d/${evil}`]: '', [`${evil}/x`]: '' }], async ({ ask }) => {
    const { body, headers } = await ask('GET', '/overlay/d/')
    t.notMatch(body, /<img/)
    t.ok(body.includes('&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;'))
    t.match(headers['content-security-policy'], /default-src 'none'/)
    t.notMatch((await ask('GET', `/overlay/${encodeURIComponent(evil).replaceAll("'", '%27')}/`)).body, /<img/)
    t.equal(escapeHtml('a'), 'a')
  })
})

t.test('names that are not UTF-8 are shown with a replacement and linked by their bytes', async (t) => {
  await withDav(t, [{ 'd/': '' }], async ({ ask }) => {
    t.match(await ask('PUT', '/overlay/d/%ff%e9', { body: 'x' }), { status: 201 })
    const { body } = await ask('GET', '/overlay/d/')
    t.ok(body.includes('href="/overlay/d/%FF%E9"'))
    t.ok(Buffer.from(body, 'latin1').toString('utf8').includes('\ufffd'))
    t.match(await ask('GET', '/overlay/d/%FF%E9'), { status: 200, body: 'x' })
  })
})

t.test('a very large directory is streamed', async (t) => {
  await withDav(
    t,
    [{ 'd/': '' }],
    async ({ ask }) => {
      const { status, headers, body } = await ask('GET', '/overlay/d/')
      t.equal(status, 200)
      t.equal(headers['content-length'], undefined)
      t.equal(body.match(/<tr/g)?.length, 1_500 + 1)
      t.match(body, /<\/html>\n$/)
    },
    {
      limits: { sortedMembers: 1000 },
      prepare: ([lower]) => {
        for (let i = 0; i < 1_500; i++) writeFileSync(join(String(lower), 'd', `f${i}`), '')
      },
    },
  )
})

t.test('the page tells the layer of each entry, and on demand what was removed', async (t) => {
  await withDav(t, [{ 'd/lower': 'x', 'd/changed': 'x', 'd/gone': 'x', 'd/sub/in': 'x' }], async ({ ask }) => {
    await ask('PUT', '/overlay/d/changed', { body: 'new' })
    await ask('PUT', '/overlay/d/upper', { body: 'new' })
    await ask('PUT', '/overlay/d/sub/in', { body: 'new' })
    await ask('DELETE', '/overlay/d/gone')
    const layers = async (path: string) =>
      [...(await ask('GET', path)).body.matchAll(/data-name="([^"]+)".*?class="badge (\w+)">([^<]*)/g)].map((found) =>
        found.slice(1).join(' '),
      )
    const shown = ['sub changed merged', 'changed changed copied up', 'lower lower lower', 'upper upper upper']
    t.same(await layers('/overlay/d/'), shown)
    t.same((await layers('/overlay/d/?removed')).sort(), [...shown, 'gone removed removed'].sort())
  })
})

t.test('the scripts and styles of the page are served, for ever the same at their addresses', async (t) => {
  await withDav(t, [{ 'd/': '' }], async ({ ask }) => {
    const { body } = await ask('GET', '/overlay/d/')
    const wanted = [...body.matchAll(/(?:src|href)="(\/-\/[^"]+)"/g)].map(([, href]) => href as string)
    const seen = new Set<string>()
    for (let href = wanted.pop(); href !== undefined; href = wanted.pop()) {
      if (seen.has(href)) continue
      seen.add(href)
      const asset = await ask('GET', href)
      t.equal(asset.status, 200, href)
      t.match(asset.headers['content-type'], href.endsWith('.js') ? 'text/javascript' : 'text/css')
      t.match(asset.headers['cache-control'], 'immutable')
      for (const [, other] of asset.body.matchAll(/^import .* from '\.(\/[^']+)'/gm))
        wanted.push(href.replace(/\/[^/]+$/, other as string))
    }
    t.ok(seen.size > 8, [...seen].join(' '))
    t.notMatch(body, /<script(?! type="module" src=)|<style| style=| on\w+=/, 'nothing is inline')
  })
})

t.test('a read-only view offers no changes', async (t) => {
  await withDav(
    t,
    [{ 'd/f': '' }],
    async ({ ask }) => {
      const { body } = await ask('GET', '/overlay/d/')
      t.match(body, /<body [^>]*data-readonly/)
      t.notMatch(body, /id="upload"|removed/)
    },
    { readOnly: true },
  )
})
